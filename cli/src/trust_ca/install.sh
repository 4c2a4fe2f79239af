# Has the sshd of this host trust the SSH CA of Vault. Made by vctl; running it again changes nothing.
#
# Before this: the functions `wanted` (fingerprint, kind and key of each CA to trust) and `unwanted`
# (fingerprints of those to trust no more), and the variable `mode`: `apply` or `plan`.
# $1 the root directory of an image, in which there is no sshd to ask or to reload. Lines that begin with `vctl:` are for vctl to read.
vctl_trust_ca() {
    set -u
    umask 022
    LC_ALL=C PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin
    export LC_ALL PATH
    root=${1-}
    directory=$root/etc/ssh
    # As sshd is told it: within an image, that is another place than it has here.
    named=/etc/ssh/vault-ca.pub
    ca=$root$named
    drop_in_directory=$directory/sshd_config.d
    drop_in=$drop_in_directory/10-vault-ca.conf
    mode=${mode-apply} state=untouched work=''
    # What is printed may have no reader any more. That is no reason to stop half way.
    trap '' PIPE
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    prepare
    compose_ca
    compose_drop_in
    if [ "$changed" = no ]; then
        [ -n "$root" ] || effective
        result unchanged
    elif [ "$mode" = plan ]; then
        result planned
    else
        keep_what_is_there
        state=dirty
        install_new
        [ -n "$root" ] || take_effect
        state=finished
        result applied
    fi
}

result() { printf 'vctl:result %s\n' "$1"; }

# $1 the exit status, $2 one line.
fail() {
    printf 'vctl:error %s\n' "$2"
    exit "$1"
}

finish() {
    code=$?
    trap - EXIT HUP INT TERM
    if [ "$state" = dirty ]; then roll_back; fi
    if [ -n "$work" ]; then rm -rf "$work"; fi
    exit "$code"
}

prepare() {
    [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail 77 'only root may change what sshd trusts'
    [ -d "$directory" ] || fail 66 "there is no $directory: is sshd installed?"
    command -v ssh-keygen >/dev/null || fail 66 'there is no ssh-keygen'
    if command -v flock >/dev/null; then
        # Two at once would each roll back what the other did. Released when this ends.
        exec 9<"$directory"
        flock -w 60 9 || fail 75 'somebody else is changing what sshd trusts'
    fi
    work=$(mktemp -d) || fail 1 'cannot make a temporary directory'
    if [ -n "$root" ]; then
        [ -f "$directory/sshd_config" ] || fail 66 "there is no $directory/sshd_config: is sshd installed?"
        grep -Eiq '^[[:space:]]*Include[[:space:]].*/etc/ssh/sshd_config\.d/' "$directory/sshd_config" ||
            fail 78 "$directory/sshd_config does not include /etc/ssh/sshd_config.d/*.conf"
        return
    fi
    sshd=$(command -v sshd) || fail 66 'there is no sshd'
    said=$("$sshd" -t 2>&1) || fail 78 "sshd refuses its configuration as it is: $(one_line "$said")"
}

one_line() { printf '%s' "$1" | tr '\n' ' '; }

fingerprint_of() {
    printf '%s\n' "$1" | ssh-keygen -l -E sha256 -f - 2>/dev/null | {
        read -r _ fingerprint _ || :
        printf '%s' "${fingerprint-}"
    }
}

# What is there stays, but for the CAs to trust no more; what is missing is added.
compose_ca() {
    changed=no
    : >"$work/ca"
    if [ -e "$ca" ]; then
        while IFS= read -r line || [ -n "$line" ]; do
            fingerprint=
            case $line in
            '' | '#'*) ;;
            *) fingerprint=$(fingerprint_of "$line") ;;
            esac
            if [ -n "$fingerprint" ] && unwanted | grep -Fxq -e "$fingerprint"; then
                printf 'vctl:removed %s\n' "$fingerprint"
                changed=yes
                continue
            fi
            printf '%s\n' "$line" >>"$work/ca"
            [ -z "$fingerprint" ] || printf 'vctl:trusted %s\n' "$fingerprint"
        done <"$ca"
    fi
    wanted >"$work/wanted"
    while read -r fingerprint kind key; do
        if grep -v '^[[:space:]]*#' "$work/ca" | grep -Fq -e "$kind $key"; then
            continue
        fi
        printf '%s %s\n' "$kind" "$key" >>"$work/ca"
        printf 'vctl:added %s\n' "$fingerprint"
        changed=yes
    done <"$work/wanted"
}

compose_drop_in() {
    line="TrustedUserCAKeys $named"
    if [ -e "$drop_in" ] && grep -Fxq -e "$line" "$drop_in"; then
        cp "$drop_in" "$work/drop-in"
        return
    fi
    printf '# SSH CAs of Vault: vctl trust-ca\n%s\n' "$line" >"$work/drop-in"
    printf 'vctl:drop-in %s\n' "$drop_in"
    changed=yes
}

keep_what_is_there() {
    if [ -e "$ca" ]; then cp -p "$ca" "$work/ca.before"; fi
    if [ -e "$drop_in" ]; then cp -p "$drop_in" "$work/drop-in.before"; fi
    if [ ! -d "$drop_in_directory" ]; then : >"$work/no-directory"; fi
}

# Whole or not at all: sshd may read the file at any moment. sshd's `*.conf` does not match the new name.
# $1 what to put there, $2 the place.
place() {
    if ! cp -p "$1" "$2.vctl-new" || ! mv -f "$2.vctl-new" "$2"; then
        rm -f "$2.vctl-new"
        return 1
    fi
    if command -v restorecon >/dev/null; then restorecon "$2" >/dev/null 2>&1 || :; fi
}

install_new() {
    chmod 0644 "$work/ca" "$work/drop-in"
    mkdir -p "$drop_in_directory" || cannot_write
    same "$work/ca" "$ca" || place "$work/ca" "$ca" || cannot_write
    same "$work/drop-in" "$drop_in" || place "$work/drop-in" "$drop_in" || cannot_write
}

cannot_write() { fail 1 "cannot write below $directory"; }

same() { [ -e "$2" ] && [ "$(cat "$1")" = "$(cat "$2")" ]; }

take_effect() {
    said=$("$sshd" -t 2>&1) ||
        fail 78 "sshd refuses the new configuration, so the files are as before: $(one_line "$said")"
    effective
    # The keys are read anew at each login, the configuration is not.
    if [ -e "$work/drop-in.before" ] && same "$work/drop-in" "$work/drop-in.before"; then return; fi
    why=$(reload 2>&1) ||
        fail 1 "sshd was not reloaded, so the files are as before: $(one_line "$why")"
}

# $1 a keyword in lower case.
setting() {
    # Some versions insist on knowing whom a `Match` is to match.
    "$sshd" -T -C user=root,host=localhost,addr=127.0.0.1 2>/dev/null |
        sed -n "s/^$1 //p"
}

# Of several lines for one keyword sshd takes the first.
effective() {
    found=$(setting trustedusercakeys)
    case $found in
    "$named") ;;
    '' | none) fail 78 "sshd does not read $drop_in: let the first line of $directory/sshd_config be \`Include /etc/ssh/sshd_config.d/*.conf\`" ;;
    *) fail 78 "sshd trusts the keys in $found, which something before $drop_in says" ;;
    esac
}

reload() {
    if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
        for unit in ssh sshd; do
            systemctl is-active --quiet "$unit.service" || continue
            : >"$work/reloaded"
            systemctl reload "$unit.service" || return 1
            # One that cannot go on with its new configuration is gone a moment later.
            sleep 1
            systemctl is-active --quiet "$unit.service" && return 0
            echo "$unit.service is not active any more"
            return 1
        done
        # Each connection has an sshd of its own, which reads the configuration.
        for unit in ssh sshd; do
            if systemctl is-active --quiet "$unit.socket"; then return 0; fi
        done
        echo 'systemd runs neither ssh nor sshd'
        return 1
    fi
    file=$(setting pidfile)
    if [ "$file" = none ] || [ ! -r "$file" ]; then
        echo "there is no systemd, and no pid in ${file:-a pid file}"
        return 1
    fi
    pid=$(cat "$file")
    if [ -e /proc/self/exe ]; then
        case $(readlink "/proc/$pid/exe") in
        */sshd*) ;;
        *)
            echo "process $pid of $file is not sshd"
            return 1
            ;;
        esac
    fi
    : >"$work/reloaded"
    kill -HUP "$pid" || return 1
    sleep 1
    kill -0 "$pid"
}

roll_back() {
    if [ -e "$work/ca.before" ]; then place "$work/ca.before" "$ca"; else rm -f "$ca"; fi
    if [ -e "$work/drop-in.before" ]; then place "$work/drop-in.before" "$drop_in"; else rm -f "$drop_in"; fi
    if [ -e "$work/no-directory" ]; then rmdir "$drop_in_directory" 2>/dev/null || :; fi
    # It may have seen the new ones.
    if [ -e "$work/reloaded" ] && ! reload >/dev/null 2>&1; then
        printf 'vctl:error %s\n' 'sshd was not reloaded with the files as before either: see how it does'
    fi
}

# Called only once all of it was read: half a script does nothing. Without the braces a last line that is cut
# short would still call it, on this host also where an image was meant. And what runs in it is not to read it.
{ vctl_trust_ca "$@" </dev/null; }
