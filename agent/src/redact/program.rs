//! What single programs take secrets in, where the name of the flag does not say so.

/// How the value that a rule points at is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// All of it.
    Whole,
    /// All of it, unless it is a `key=value`.
    Bare,
    /// What follows the first of this byte: `user:secret`, `user%secret`, `key=secret`.
    After(u8),
    /// Only after `pass:`; `env:`, `file:` and `fd:` point elsewhere (openssl-passphrase-options(1)).
    PassSpec,
    /// `Name: value` where the name is a secret one.
    Header,
    /// Text for a shell, split again.
    Shell,
    /// A name; the value of that name follows: `jq --arg NAME VALUE`.
    Named,
    /// A harmless value: read like any other word, but no operand.
    Plain,
    /// Nothing follows: the flag is a switch.
    Switch,
}

/// Where a flag's value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Behind the flag or in the next item.
    Any,
    /// Only in the next item, for programs whose long flags have one dash: `-k X` beside `-key`.
    Next,
    /// Only behind it (`-pX`, `--password=X`): the next item is something else.
    Attached,
}

/// One flag of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) word: &'static str,
    pub(super) form: Form,
    pub(super) value: Value,
    /// Holds only under this subcommand; empty for any.
    pub(super) under: &'static str,
}

/// An operand that is a secret by its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    /// The subcommand it is counted from; empty for the program itself.
    pub(super) after: &'static str,
    /// 1 is the first operand after it.
    pub(super) nth: usize,
    pub(super) value: Value,
    /// Counts only after a one-letter flag with this letter; 0 for always.
    pub(super) with: u8,
}

/// What is known about a program.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) names: &'static [&'static str],
    pub(super) rules: &'static [Rule],
    pub(super) operands: &'static [Operand],
    /// One-letter switches that may stand before a secret's letter: the `sS` of `curl -sSu`.
    pub(super) bundle: &'static str,
    /// Runs another program, named in one of its operands.
    pub(super) wraps: bool,
    /// Operands are text for a shell.
    pub(super) shell: bool,
    /// Words with which it reads a secret from its standard input; empty string: always.
    pub(super) stdin: &'static [&'static str],
    /// Prints its operands, possibly into the one that reads a secret.
    pub(super) prints: bool,
}

impl Program {
    /// Whether its flags start with a slash.
    pub(super) fn slashes(&self) -> bool {
        self.rules
            .first()
            .is_some_and(|rule| rule.word.starts_with('/'))
    }
}

const NONE: Program = Program {
    names: &[],
    rules: &[],
    operands: &[],
    bundle: "",
    wraps: false,
    shell: false,
    stdin: &[],
    prints: false,
};

/// A program of which nothing is known.
pub(super) static UNKNOWN: Program = NONE;

const fn rule(word: &'static str, value: Value) -> Rule {
    Rule {
        word,
        form: Form::Any,
        value,
        under: "",
    }
}

const fn attached(word: &'static str, value: Value) -> Rule {
    Rule {
        word,
        form: Form::Attached,
        value,
        under: "",
    }
}

const fn next(word: &'static str, value: Value) -> Rule {
    Rule {
        word,
        form: Form::Next,
        value,
        under: "",
    }
}

const fn under(under: &'static str, word: &'static str, value: Value) -> Rule {
    Rule {
        word,
        form: Form::Any,
        value,
        under,
    }
}

const fn operand(after: &'static str, nth: usize, value: Value) -> Operand {
    Operand {
        after,
        nth,
        value,
        with: 0,
    }
}

const fn with(with: u8, nth: usize, value: Value) -> Operand {
    Operand {
        after: "",
        nth,
        value,
        with,
    }
}

use Value::{After, Bare, Header, Named, PassSpec, Plain, Shell, Switch, Whole};

/// The programs in groups; a name belongs to one row.
#[rustfmt::skip]
static TABLE: &[Program] = &[
    // Databases
    Program { names: &["mysql", "mariadb", "mysqldump", "mariadb-dump", "mysqladmin", "mariadb-admin", "mysqlimport", "mysqlcheck", "mysqlslap", "mysqlshow", "mysqlbinlog", "mysqlpump", "mysql_upgrade", "mysqlsh", "xtrabackup", "mariabackup", "mydumper", "myloader"],
        rules: &[attached("-p", Whole), attached("--password", Whole), attached("--login-path", Plain)],
        operands: &[operand("password", 1, Whole)], ..NONE },
    Program { names: &["psql", "pg_dump", "pg_restore", "pg_dumpall", "createdb", "dropdb", "createuser", "pgbench", "vacuumdb", "pg_basebackup"],
        rules: &[rule("--password", Switch), rule("--no-password", Switch)], ..NONE },
    Program { names: &["redis-cli", "valkey-cli", "keydb-cli"],
        rules: &[rule("-a", Whole), rule("-h", Plain), rule("-p", Plain), rule("-n", Plain)],
        operands: &[operand("auth", 1, Whole), operand("auth", 2, Whole), operand("requirepass", 1, Whole), operand("masterauth", 1, Whole)], ..NONE },
    Program { names: &["redis-server", "valkey-server"], rules: &[rule("--requirepass", Whole), rule("--masterauth", Whole)], ..NONE },
    Program { names: &["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport", "cqlsh", "influx", "clickhouse-client", "beeline", "arangosh"],
        rules: &[rule("-p", Whole)], ..NONE },
    Program { names: &["sqlcmd", "bcp", "tsql", "fisql", "osql"], rules: &[rule("-P", Whole)], ..NONE },
    Program { names: &["sqlplus", "exp", "imp", "expdp", "impdp", "sqlldr", "rman"],
        operands: &[operand("", 1, After(b'/'))], ..NONE },
    Program { names: &["isql"], operands: &[operand("", 3, Whole)], ..NONE },
    // Web and transfer
    Program { names: &["curl"], bundle: "sSkfLgivIGNqnj#a01246BlOJR",
        rules: &[rule("-u", After(b':')), rule("--user", After(b':')), rule("-U", After(b':')), rule("--proxy-user", After(b':')), rule("-H", Header), rule("--header", Header), rule("--proxy-header", Header), rule("-b", After(b'=')), rule("--cookie", After(b'=')), rule("-E", After(b':')), rule("--cert", After(b':')), rule("--oauth2-bearer", Whole), rule("--pass", Whole), rule("--proxy-pass", Whole), rule("--tlspassword", Whole), rule("--aws-sigv4", Plain)], ..NONE },
    Program { names: &["wget", "wget2"], rules: &[rule("--header", Header), rule("--http-password", Whole), rule("--ftp-password", Whole)], ..NONE },
    Program { names: &["http", "https", "xh", "xhs"], rules: &[rule("-a", After(b':')), rule("--auth", After(b':'))], ..NONE },
    Program { names: &["ab", "wrk", "hey", "siege", "vegeta", "websocat", "grpcurl", "k6"], rules: &[rule("-H", Header), rule("-header", Header), rule("-A", After(b':')), rule("-P", After(b':')), rule("-a", After(b':')), rule("-C", After(b'='))], ..NONE },
    Program { names: &["lftp"], rules: &[rule("-u", After(b',')), rule("--user", After(b',')), rule("-e", Shell), rule("-c", Shell)], operands: &[], ..NONE },
    Program { names: &["ncftp", "ncftpget", "ncftpput"], rules: &[rule("-p", Whole)], ..NONE },
    Program { names: &["aria2c"], rules: &[rule("--http-passwd", Whole), rule("--header", Header)], ..NONE },
    // Login helpers
    Program { names: &["sshpass"], rules: &[rule("-p", Whole)], wraps: true, ..NONE },
    Program { names: &["smbclient", "rpcclient", "smbget", "smbmap", "smbcacls", "wmic", "winexe", "net", "samba-tool", "nmblookup"],
        rules: &[rule("-U", After(b'%')), rule("--user", After(b'%')), rule("-W", Plain)],
        operands: &[operand("password", 2, Whole), operand("setpassword", 2, Whole)], ..NONE },
    Program { names: &["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami", "ldapcompare", "ldapmodrdn"], rules: &[rule("-w", Whole)], ..NONE },
    Program { names: &["ldappasswd"], rules: &[rule("-w", Whole), rule("-s", Whole), rule("-a", Whole)], ..NONE },
    Program { names: &["slappasswd"], rules: &[rule("-s", Whole)], ..NONE },
    Program { names: &["useradd", "usermod", "groupadd", "groupmod"], rules: &[rule("-p", Whole), rule("--password", Whole)], ..NONE },
    Program { names: &["chpasswd", "chgpasswd", "newusers"], stdin: &[""], ..NONE },
    Program { names: &["passwd"], stdin: &[""], ..NONE },
    Program { names: &["smbpasswd"], stdin: &["-s"], ..NONE },
    Program { names: &["htpasswd"], rules: &[rule("-C", Plain), rule("-r", Plain)], bundle: "cnmBbdsp25iDv", operands: &[with(b'b', 3, Whole), with(b'n', 2, Whole)], ..NONE },
    Program { names: &["mkpasswd"], rules: &[rule("-m", Plain), rule("-S", Plain), rule("-R", Plain), rule("-P", Plain)], operands: &[operand("", 1, Whole)], ..NONE },
    Program { names: &["wpa_passphrase"], operands: &[operand("", 2, Whole)], ..NONE },
    Program { names: &["iwconfig"], operands: &[operand("key", 1, Whole)], ..NONE },
    Program { names: &["nmcli"], rules: &[], operands: &[operand("password", 1, Whole), operand("wifi-sec.psk", 1, Whole), operand("802-11-wireless-security.psk", 1, Whole), operand("802-1x.password", 1, Whole), operand("vpn.secrets", 1, Whole)], ..NONE },
    Program { names: &["ipmitool"], rules: &[rule("-P", Whole)], operands: &[operand("password", 2, Whole)], ..NONE },
    Program { names: &["snmpwalk", "snmpget", "snmpset", "snmpbulkwalk"], rules: &[rule("-A", Whole), rule("-X", Whole), rule("-c", Whole)], ..NONE },
    Program { names: &["xfreerdp", "wlfreerdp", "xfreerdp3"], rules: &[attached("/p:", Whole), attached("/gp:", Whole), attached("/pth:", Whole)], ..NONE },
    Program { names: &["vncviewer", "vncserver", "xtightvncviewer"], rules: &[rule("-passwd", Plain)], ..NONE },
    Program { names: &["rdesktop"], rules: &[rule("-p", Whole)], ..NONE },
    Program { names: &["mosquitto_pub", "mosquitto_sub"], rules: &[rule("-P", Whole), rule("--pw", Whole)], ..NONE },
    Program { names: &["rabbitmqctl", "rabbitmqadmin"], rules: &[rule("-p", Plain)], operands: &[operand("add_user", 2, Whole), operand("change_password", 2, Whole), operand("authenticate_user", 2, Whole)], ..NONE },
    Program { names: &["radtest"], operands: &[operand("", 2, Whole), operand("", 5, Whole)], ..NONE },
    Program { names: &["cryptsetup", "kinit"], stdin: &[""], ..NONE },
    // Keys and archives
    Program { names: &["openssl"], stdin: &["-stdin", "stdin"],
        rules: &[rule("-passin", PassSpec), rule("-passout", PassSpec), rule("-pass", PassSpec), rule("-password", PassSpec), next("-k", Whole), next("-K", Whole), rule("-hmac", Whole), rule("-macopt", After(b':')), rule("-psk", Whole), rule("-srppass", PassSpec), rule("-kfile", Plain), rule("-salt", Plain)],
        operands: &[operand("passwd", 1, Whole)], ..NONE },
    Program { names: &["gpg"], rules: &[rule("--passphrase", Whole), rule("--export-secret-keys", Plain), rule("--export-secret-subkeys", Plain)], stdin: &["--passphrase-fd"], ..NONE },
    Program { names: &["ssh-keygen"], rules: &[rule("-N", Whole), rule("-P", Whole)], ..NONE },
    Program { names: &["keytool", "jarsigner"], rules: &[rule("-storepass", Whole), rule("-keypass", Whole), rule("-srcstorepass", Whole), rule("-deststorepass", Whole), rule("-destkeypass", Whole), rule("-srckeypass", Whole)], ..NONE },
    Program { names: &["7z", "7za", "7zr", "7zz"], rules: &[attached("-p", Whole)], ..NONE },
    Program { names: &["rar", "unrar"], rules: &[attached("-p", Whole), attached("-hp", Whole)], ..NONE },
    Program { names: &["zip", "unzip", "zipcloak", "funzip"], rules: &[rule("-P", Whole)], bundle: "rqujnoXyvl9", ..NONE },
    Program { names: &["pdftk", "qpdf", "pdftotext", "pdfunite"], rules: &[rule("-upw", Whole), rule("-opw", Whole)], operands: &[operand("input_pw", 1, Whole), operand("owner_pw", 1, Whole), operand("user_pw", 1, Whole)], ..NONE },
    // Vault, clouds, containers
    Program { names: &["vault", "bao"], stdin: &["-"],
        rules: &[rule("-field", Plain), rule("-token-only", Switch), rule("-header", Header)],
        operands: &[operand("login", 1, Bare), operand("unseal", 1, Whole), operand("unwrap", 1, Whole), operand("put", 2, After(b'=')), operand("put", 3, After(b'=')), operand("put", 4, After(b'=')), operand("patch", 2, After(b'=')), operand("patch", 3, After(b'='))], ..NONE },
    Program { names: &["aws"],
        rules: &[rule("--secret-id", Plain), rule("--secret", Plain), rule("--secret-string", Whole), rule("--secret-binary", Whole), rule("--no-sign-request", Switch), under("put-parameter", "--value", Whole), rule("--starting-token", Plain), rule("--next-token", Plain), rule("--client-token", Plain), rule("--continuation-token", Plain)], operands: &[operand("set", 1, Named)], ..NONE },
    Program { names: &["az"], rules: &[under("login", "-p", Whole), under("create", "-p", Plain), under("secret", "--value", Whole), rule("--account-key", Whole), rule("--sas-token", Whole)], ..NONE },
    Program { names: &["gcloud", "gsutil", "bq"], rules: &[rule("--secret", Plain)], ..NONE },
    Program { names: &["docker", "podman", "nerdctl", "buildah", "skopeo", "crane", "oras", "helm"], wraps: true, stdin: &["--password-stdin"],
        rules: &[under("login", "-p", Whole), rule("--secret", Plain), rule("--creds", After(b':')), rule("--src-creds", After(b':')), rule("--dest-creds", After(b':'))], ..NONE },
    Program { names: &["kubectl", "oc", "k3s", "microk8s"], wraps: true,
        rules: &[under("secret", "--from-literal", After(b'=')), under("login", "-p", Whole)], ..NONE },
    Program { names: &["gh"], stdin: &["--with-token"], rules: &[under("secret", "-b", Whole), under("secret", "--body", Whole), rule("-H", Header), rule("--header", Header)], ..NONE },
    Program { names: &["fly", "flyctl", "heroku", "railway"], operands: &[operand("set", 1, After(b'=')), operand("set", 2, After(b'=')), operand("set", 3, After(b'=')), operand("set", 4, After(b'=')), operand("config:set", 1, After(b'='))], ..NONE },
    Program { names: &["ngrok"], operands: &[operand("authtoken", 1, Whole), operand("add-authtoken", 1, Whole)], ..NONE },
    Program { names: &["doctl"], rules: &[rule("-t", Whole)], ..NONE },
    Program { names: &["mc"], operands: &[operand("set", 3, Whole), operand("set", 4, Whole), operand("add", 4, Whole)], ..NONE },
    Program { names: &["ansible-vault"], operands: &[operand("encrypt_string", 1, Whole)], ..NONE },
    Program { names: &["wg"], rules: &[], ..NONE },
    Program { names: &["svn", "hg"], rules: &[rule("--password", Whole)], ..NONE },
    Program { names: &["jq", "yq", "gojq"], rules: &[rule("--arg", Named), rule("--argjson", Named)], ..NONE },
    Program { names: &["keyctl"], operands: &[operand("add", 3, Whole), operand("update", 2, Whole)], ..NONE },
    Program { names: &["npm", "yarn", "pnpm", "pip", "composer", "poetry", "bundler"], operands: &[operand("set", 1, Named)], ..NONE },
    Program { names: &["git"], operands: &[operand("config", 1, Named)], ..NONE },
    Program { names: &["cargo", "snyk", "wrangler"], operands: &[operand("login", 1, Whole), operand("auth", 1, Plain)], ..NONE },
    Program { names: &["twine"], rules: &[rule("-p", Whole)], ..NONE },
    Program { names: &["rclone"], operands: &[operand("pass", 1, Whole), operand("password", 1, Whole), operand("client_secret", 1, Whole), operand("secret_access_key", 1, Whole), operand("token", 1, Whole)], ..NONE },
    Program { names: &["echo", "printf", "yes"], prints: true, ..NONE },
    // Programs that run another one
    Program { names: &["sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "busybox", "su", "runuser", "script", "flock"],
        rules: &[rule("-c", Shell), rule("--command", Shell), rule("-lc", Shell), rule("-ec", Shell), rule("-xc", Shell), rule("-ic", Shell), rule("-exc", Shell), rule("-euc", Shell), rule("-uc", Shell), rule("-euxc", Shell), rule("-lic", Shell), rule("-ilc", Shell), rule("-cl", Shell)], wraps: true, ..NONE },
    Program { names: &["ssh", "watch", "tmux", "screen", "parallel", "eval", "mosh", "entr", "pssh", "pdsh", "at", "batch"], wraps: true, shell: true, ..NONE },
    Program { names: &["sudo", "doas", "pkexec"], wraps: true, stdin: &["-S", "--stdin"], ..NONE },
    Program { names: &["env", "nohup", "timeout", "nice", "ionice", "setsid", "stdbuf", "time", "exec", "command", "builtin", "chroot", "unshare", "nsenter", "strace", "ltrace", "gdb", "chrt", "taskset", "systemd-run", "faketime", "xargs", "find", "fakeroot", "dbus-run-session", "proxychains", "proxychains4", "torsocks", "unbuffer", "valgrind", "perf", "numactl", "setpriv", "capsh", "python", "perl", "ruby", "node", "java", "ld-linux-x86-64.so", "lxc", "incus", "machinectl", "vagrant", "systemd-inhibit", "caffeinate", "cgexec", "firejail", "bwrap", "tini", "dumb-init", "gosu", "su-exec", "s6-setuidgid", "chpst", "envdir", "softlimit", "daemonize", "start-stop-daemon", "chronic", "ts", "rlwrap", "expect", "winpty", "aws-vault", "doppler", "direnv", "pipx", "npx", "uvx"],
        wraps: true, ..NONE },
];

/// Slots of the hash table; a power of two, at least twice the number of names.
const SLOTS: usize = 1024;

/// A name and what it stands for.
type Slot = (&'static [u8], &'static Program);

/// Finds a program by the last part of its path.
///
/// A table of our own: this is asked for every exec and often for every word of a command string,
/// and the standard map's hash alone costs more than a whole look-up here.
#[derive(Debug)]
pub(super) struct Programs {
    slots: Box<[Option<Slot>]>,
}

impl Programs {
    pub(super) fn new() -> Self {
        let mut slots = vec![None; SLOTS].into_boxed_slice();
        for program in TABLE {
            for name in program.names {
                let free =
                    probe(name.as_bytes()).find(|&at| slots.get(at).is_some_and(Option::is_none));
                if let Some(slot) = free.and_then(|at| slots.get_mut(at)) {
                    *slot = Some((name.as_bytes(), program));
                }
            }
        }
        Self { slots }
    }

    /// The program that `path` names, also as `python3.11` or, for a login shell, `-bash`.
    pub(super) fn find(&self, path: &[u8]) -> Option<&'static Program> {
        let name = memchr::memrchr(b'/', path)
            .and_then(|at| path.get(at + 1..))
            .unwrap_or(path);
        let name = name.strip_prefix(b"-").unwrap_or(name);
        let digits = matches!(name.last(), Some(b'0'..=b'9'));
        self.named(name).or_else(|| {
            if !digits {
                return None;
            }
            let end = name
                .iter()
                .rposition(|byte| !byte.is_ascii_digit() && *byte != b'.')?
                + 1;
            self.named(name.get(..end)?)
        })
    }

    fn named(&self, name: &[u8]) -> Option<&'static Program> {
        for at in probe(name) {
            let (known, program) = (*self.slots.get(at)?)?;
            if known == name {
                return Some(program);
            }
        }
        None
    }
}

/// The slots a name may be in, the likeliest first.
///
/// Length, both ends and the middle tell the names apart well enough for a table this sparse.
fn probe(name: &[u8]) -> impl Iterator<Item = usize> {
    let byte = |at: usize| name.get(at).copied().map_or(0, usize::from);
    let last = name.len().wrapping_sub(1);
    let hash = name.len().wrapping_mul(0x9E5)
        ^ byte(0).wrapping_mul(0x1F3)
        ^ byte(1).wrapping_mul(0x2D)
        ^ byte(name.len() / 2).wrapping_mul(0xC7)
        ^ byte(last).wrapping_mul(0x11);
    (0..SLOTS).map(move |step| (hash + step) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::{Programs, SLOTS, TABLE};

    #[test]
    fn every_name_stands_in_one_row() {
        let mut names: Vec<_> = TABLE.iter().flat_map(|row| row.names).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(names.len() * 2 <= SLOTS);
        let programs = Programs::new();
        assert!(
            names
                .iter()
                .all(|name| programs.find(name.as_bytes()).is_some())
        );
    }

    #[test]
    fn paths_versions_and_login_shells_find_their_program() {
        let programs = Programs::new();
        for path in [
            "/usr/bin/mysql",
            "python3.11",
            "-bash",
            "gpg2",
            "/lib64/ld-linux-x86-64.so.2",
        ] {
            assert!(programs.find(path.as_bytes()).is_some(), "`{path}`");
        }
        assert!(programs.find(b"/usr/bin/mysqlx").is_none());
    }
}
