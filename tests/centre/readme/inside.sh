#!/bin/sh
# Makes a machine for a new user out of this one, in a mount and a network namespace of its own, and
# becomes the shell of that user. Nothing of it stays: every change is in overlays, copies and tmpfs.
# Arguments: a work directory, the directory of the built programs, the program of OpenBao or Vault,
# the repository.
set -e
# What root's own files allow on this machine must not decide what happens here.
umask 022
work=$1 programs=$2 bao=$3 repository=$4
mount -t tmpfs -o mode=755 none "$work"
mkdir -p "$work/bin" "$work/home"
mount --bind "$programs" "$work/bin"
# A copy: accounts are added outside at the same time, under a lock of which an overlay would keep half.
sh "$repository/tests/copy_etc.sh" "$work"
mount --bind "$work/etc" /etc
for tree in usr var/lib; do
    mkdir -p "$work/over/$tree/up" "$work/over/$tree/work"
    mount -t overlay overlay \
        -o "lowerdir=/$tree,upperdir=$work/over/$tree/up,workdir=$work/over/$tree/work" "/$tree"
done
# Journals of labs outside: their locks cannot be seen from here, so they would be taken for dead.
mkdir -p /var/lib/vctl-lab
mount -t tmpfs -o mode=700 none /var/lib/vctl-lab
# dpkg would build the index of all manual pages anew.
rm -f /var/lib/man-db/auto-update
# The page about Vault names `vault`; both programs have these commands.
for name in bao vault; do
    touch "/usr/local/bin/$name"
    mount --bind "$bao" "/usr/local/bin/$name"
done
for name in cargo systemctl; do
    sed "s:@BIN@:$work/bin:g" "$repository/tests/centre/readme/$name.sh" > "/usr/local/bin/$name"
    chmod 755 "/usr/local/bin/$name"
done
printf '#!/bin/sh\necho "terraform would run with a token of ${#VAULT_TOKEN} characters"\n' \
    > /usr/local/bin/terraform
chmod 755 /usr/local/bin/terraform
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/sshd /run/lock /run/app /run/systemd/system
mount -t bpf none /sys/fs/bpf
ip link set lo up
# The address of the README's example host, and the name of its Postgres.
ip address add 192.0.2.10/32 dev lo
echo '127.0.0.1 db.example.net' >> /etc/hosts

# Ids of their own: a lab ends all processes of an id when it deletes its account, also those that a
# machine beside it gave the same id.
first=$((100000 + $$ % 10000 * 20))
sed -i "s/^#*UID_MIN.*/UID_MIN $first/; s/^#*GID_MIN.*/GID_MIN $first/
    s/^#*UID_MAX.*/UID_MAX 400000/; s/^#*GID_MAX.*/GID_MAX 400000/" /etc/login.defs
for account in newcomer ubuntu; do
    useradd --create-home --home-dir "$work/home/$account" --shell /bin/bash "$account"
    echo "$account ALL=(ALL:ALL) NOPASSWD: ALL" > "/etc/sudoers.d/$account"
    chmod 440 "/etc/sudoers.d/$account"
done
chown newcomer: /run/app
rm -rf "$work/home/newcomer/".[!.]*
# A clone has what is tracked, and no target directory.
mkdir "$work/home/newcomer/vctl"
cd "$repository"
git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
    tar --null --files-from=- --create --file=- --ignore-failed-read 2> /dev/null |
    tar --extract --directory "$work/home/newcomer/vctl"
chown -R newcomer: "$work/home/newcomer/vctl"
# After the copy: the repository may be below it.
mount -t tmpfs -o mode=700 none /root

# Labs outside have logins, too, and no hook of theirs asks the agent in here.
install -d -m 0700 /etc/vctl
echo 'sshd_names: [none]' > /etc/vctl/agent.yaml

# sshd of this machine, on the usual port, for the part about one host.
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/throw_away_ca
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/throw_away_host
# In the file of `vctl trust-ca`, which keeps the lines that are there.
cp /etc/ssh/throw_away_ca.pub /etc/ssh/vault-ca.pub
cat > /etc/ssh/sshd_config <<'TEXT'
Include /etc/ssh/sshd_config.d/*.conf
HostKey /etc/ssh/throw_away_host
PidFile /run/sshd.pid
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
TrustedUserCAKeys /etc/ssh/vault-ca.pub
TEXT
rm -f /etc/ssh/sshd_config.d/*.conf
/usr/sbin/sshd -E "$work/sshd.log"
cd "$work/home/newcomer/vctl"
exec setpriv --reuid newcomer --regid newcomer --init-groups \
    env -i HOME="$work/home/newcomer" USER=newcomer LOGNAME=newcomer SHELL=/bin/bash TERM=xterm \
    LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin PS1='[$?] newcomer:vctl$ ' \
    bash --norc --noprofile --noediting -i
