//! Programs that print, and programs that run another one.
use super::Value::Shell;
use super::{NONE, Program, rule};

#[rustfmt::skip]
pub(super) const TABLE: &[Program] = &[
    Program { names: &["sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "busybox", "su", "runuser", "script", "flock"],
        bundle: "abefhiklmnprtuvxBCEHPTD", rules: &[rule("-c", Shell), rule("--command", Shell), rule("-lc", Shell), rule("-ec", Shell), rule("-xc", Shell), rule("-ic", Shell), rule("-exc", Shell), rule("-euc", Shell), rule("-uc", Shell), rule("-euxc", Shell), rule("-lic", Shell), rule("-ilc", Shell), rule("-cl", Shell)], wraps: true, ..NONE },
    Program { names: &["ssh", "watch", "tmux", "screen", "parallel", "eval", "mosh", "entr", "pssh", "pdsh", "at", "batch"], wraps: true, shell: true, ..NONE },
    Program { names: &["sudo", "doas", "pkexec"], wraps: true, stdin: &["-S", "--stdin"], ..NONE },
    Program { names: &["env", "EXEC", "nohup", "timeout", "nice", "ionice", "setsid", "stdbuf", "time", "exec", "command", "builtin", "chroot", "unshare", "nsenter", "strace", "ltrace", "gdb", "chrt", "taskset", "systemd-run", "faketime", "xargs", "find", "fakeroot", "dbus-run-session", "proxychains", "proxychains4", "torsocks", "unbuffer", "valgrind", "perf", "numactl", "setpriv", "capsh", "python", "perl", "ruby", "node", "java", "ld-linux-x86-64.so", "lxc", "incus", "machinectl", "vagrant", "systemd-inhibit", "caffeinate", "cgexec", "firejail", "bwrap", "tini", "dumb-init", "gosu", "su-exec", "s6-setuidgid", "chpst", "envdir", "softlimit", "daemonize", "start-stop-daemon", "chronic", "ts", "rlwrap", "winpty", "aws-vault", "doppler", "direnv", "pipx", "npx", "uvx"],
        wraps: true, ..NONE },
    Program { names: &["pwsh", "powershell", "powershell.exe", "pwsh.exe"], rules: &[rule("-c", Shell), rule("-Command", Shell), rule("-command", Shell), rule("/c", Shell)], wraps: true, ..NONE },
    Program { names: &["cmd", "cmd.exe"], rules: &[rule("/c", Shell), rule("/C", Shell), rule("/k", Shell)], wraps: true, ..NONE },
    // Programs whose operands are names or texts
    Program { names: &["grep", "egrep", "fgrep", "zgrep", "rg", "ag", "ack", "cat", "tac", "less", "more", "man", "apropos", "whatis", "head", "tail", "ls", "ll", "cp", "mv", "rm", "mkdir", "rmdir", "touch", "ln", "chmod", "chown", "stat", "file", "du", "df", "tee", "sort", "uniq", "wc", "cut", "diff", "cmp", "vi", "vim", "nvim", "nano", "emacs", "view", "install", "tar", "rsync", "scp", "apt", "apt-get", "apt-cache", "aptitude", "dpkg", "rpm", "dnf", "yum", "zypper", "pacman", "apk", "brew", "systemctl", "journalctl", "service", "make", "ninja", "cmake", "which", "logger", "test", "ping", "kill", "ps", "id", "basename", "dirname", "realpath", "readlink", "sha256sum", "md5sum"],
        names_only: true, ..NONE },
];
