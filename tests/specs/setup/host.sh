#!/bin/sh
# Makes a host for `vctl-agent setup` out of this machine, in a mount and a network namespace of its own. Nothing of
# it stays. Arguments: a work directory, the directory of the built programs, the repository.
set -e
umask 022
work=$1 programs=$2 repository=$3
mount -t tmpfs -o mode=755 none "$work"
mkdir -p "$work/home" "$work/usr/up" "$work/usr/work" "$work/tree/var/lib"
# A copy: accounts are added outside at the same time, under a lock of which an overlay would keep half.
sh "$repository/tests/copy_etc.sh" "$work"
cp "$programs/vctl-agent" "$programs/vctl" "$work/"
cp "$repository/tests/specs/setup/systemctl.sh" "$work/"
mount --bind "$work/etc" /etc
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$work/usr/up,workdir=$work/usr/work" /usr
# Packages can be installed and removed here, with the dependencies of this machine.
mkdir -p "$work/dpkg" "$work/dpkg-over/up" "$work/dpkg-over/work"
mount -t overlay overlay \
    -o "lowerdir=/var/lib/dpkg,upperdir=$work/dpkg-over/up,workdir=$work/dpkg-over/work" "$work/dpkg"
# Directories of this machine's own packages of vctl, and its accounts of labs.
rm -rf /etc/vctl /etc/tmpfiles.d/vctl.conf /etc/systemd/system/vctl-*
install -m 755 "$work/vctl-agent" /usr/sbin/vctl-agent
install -m 755 "$work/systemctl.sh" /usr/local/bin/systemctl
mount -t tmpfs -o mode=755 none /var/lib
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/sshd /run/lock /run/systemd/system
mount -t bpf none /sys/fs/bpf
ip link set lo up
# A removed device file would be missing on this machine, too.
mknod -m 666 "$work/null" c 1 3
mount --bind "$work/null" /dev/null
# Labs outside have logins, too, and no hook of theirs asks the agent in here.
install -d -m 0700 /etc/vctl
echo 'sshd_names: [none]' > /etc/vctl/agent.yaml
rm -f /etc/ssh/sshd_config.d/*.conf
ssh-keygen -q -t ed25519 -N '' -f "$work/ca"
ssh-keygen -q -t ed25519 -N '' -f "$work/person"
ssh-keygen -q -s "$work/ca" -I bob-cert -z 1002 -n person "$work/person.pub"
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/throw_away_host
cp "$work/ca.pub" /etc/ssh/trusted_ca
cat > /etc/ssh/sshd_config <<'TEXT'
Include /etc/ssh/sshd_config.d/*.conf
HostKey /etc/ssh/throw_away_host
PidFile /run/sshd.pid
PasswordAuthentication no
PrintMotd no
TrustedUserCAKeys /etc/ssh/trusted_ca
TEXT
sed -i '/vctl-agent/d' /etc/pam.d/*
useradd --no-log-init --create-home --home-dir "$work/home/person" --shell /bin/sh \
    --uid $((200000 + $$)) person
usermod --password '*' person
# An image that is being built: its programs are those of this machine.
cp -a /etc "$work/tree/etc"
mkdir "$work/tree/usr" "$work/tree/dev"
mount --bind /usr "$work/tree/usr"
mount --bind /dev "$work/tree/dev"
for name in bin sbin lib lib64; do
    [ ! -L "/$name" ] || ln -s "usr/$name" "$work/tree/$name"
done
echo ready
exec cat > /dev/null
