#!/bin/bash
# Makes certificates.txt: what `ssh-keygen -L` says of one certificate of each type, in UTC.
# Run once; the result is committed. Needs ssh-keygen and python3, which writes the public halves
# of security keys, because making one takes the hardware.
set -eu
cd "$(mktemp -d)"
export TZ=UTC
out=${1:?where to write}
: >"$out"

for type in ed25519 rsa ecdsa; do ssh-keygen -q -t $type -N '' -C '' -f ca-$type; done
ssh-keygen -q -t ed25519 -N '' -C '' -f ed25519
ssh-keygen -q -t rsa -b 2048 -N '' -C '' -f rsa
ssh-keygen -q -t dsa -N '' -C '' -f dsa
for bits in 256 384 521; do ssh-keygen -q -t ecdsa -b $bits -N '' -C '' -f ecdsa$bits; done
python3 - <<'PY'
import base64, struct
s = lambda b: struct.pack(">I", len(b)) + b
blob = base64.b64decode(open("ecdsa256.pub").read().split()[1])
point = blob[-65:]
for name, alg, parts in [
    ("sk-ed25519", b"sk-ssh-ed25519@openssh.com", [bytes(range(32)), b"ssh:"]),
    ("sk-ecdsa", b"sk-ecdsa-sha2-nistp256@openssh.com", [b"nistp256", point, b"ssh:"]),
]:
    body = s(alg) + b"".join(s(p) for p in parts)
    open(name + ".pub", "w").write(alg.decode() + " " + base64.b64encode(body).decode() + "\n")
PY

# name, then the arguments of ssh-keygen; the subject key is the last.
certificate() {
    name=$1
    shift
    key=${*: -1}
    ssh-keygen -q "$@.pub"
    info=$(ssh-keygen -L -f "$key-cert.pub")
    field() { sed -n "s/^ *$1: //p" <<<"$info"; }
    seconds() { case $1 in forever|always) echo "$1" ;; *) date -d "$1" +%s ;; esac; }
    valid=$(field Valid)
    case $valid in
    forever) after=always before=forever ;;
    "from "*) after=$(seconds "$(cut -d' ' -f2 <<<"$valid")") before=$(seconds "$(cut -d' ' -f4 <<<"$valid")") ;;
    "before "*) after=always before=$(seconds "${valid#before }") ;;
    "after "*) after=$(seconds "${valid#after }") before=forever ;;
    esac
    {
        echo "name $name"
        echo "serial $(field Serial)"
        echo "key_id $(field 'Key ID' | sed 's/^"//; s/"$//')"
        echo "ca $(field 'Signing CA' | cut -d' ' -f2)"
        echo "key $(field 'Public key' | cut -d' ' -f2)"
        echo "after $after"
        echo "before $before"
        echo "principals $(sed -n '/Principals:/,/Critical/p' <<<"$info" | grep -v : | xargs | tr ' ' ,)"
        echo "info publickey $(cut -d' ' -f1,2 <"$key-cert.pub")"
        echo
    } >>"$out"
}

V="-V 20260101000000Z:20260101001000Z"
certificate ed25519 -s ca-ed25519 -I alice@example.com -n alice,deploy -z 12 $V ed25519
certificate rsa-ca-sha2-512 -s ca-rsa -I alice@example.com -n alice -z 13 $V ed25519
certificate ecdsa-ca -s ca-ecdsa -I alice@example.com -n alice -z 14 $V ed25519
certificate rsa -s ca-ed25519 -I rsa -n alice -z 15 $V rsa
certificate dsa -s ca-ed25519 -I dsa -n alice -z 16 $V dsa
certificate ecdsa256 -s ca-ed25519 -I ecdsa256 -n alice -z 17 $V ecdsa256
certificate ecdsa384 -s ca-ed25519 -I ecdsa384 -n alice -z 18 $V ecdsa384
certificate ecdsa521 -s ca-ed25519 -I ecdsa521 -n alice -z 19 $V ecdsa521
certificate sk-ed25519 -s ca-ed25519 -I sk -n alice -z 20 $V sk-ed25519
certificate sk-ecdsa -s ca-ed25519 -I sk -n alice -z 21 $V sk-ecdsa
certificate forever -s ca-ed25519 -I forever -n alice -z 22 ed25519
certificate until -s ca-ed25519 -I until -n alice -z 23 -V always:20300101000000Z ed25519
certificate no-serial -s ca-ed25519 -I "no serial" -n alice $V ed25519
certificate largest-serial -s ca-ed25519 -I large -n alice -z 18446744073709551615 $V ed25519
certificate no-principals -s ca-ed25519 -I anyone -z 24 $V ed25519
certificate options -s ca-ed25519 -I options -n alice -z 25 $V -O force-command=/bin/true -O source-address=10.0.0.0/8 -O extension:zz@example.com=1 -O extension:aa@example.com=2 ed25519
certificate expired -s ca-ed25519 -I expired -n alice -z 26 -V 20000101000000Z:20000102000000Z ed25519
certificate same-serial-other-ca -s ca-ecdsa -I mallory -n alice -z 12 $V ed25519
certificate key-id-unicode -s ca-ed25519 -I 'Zoë Ωmega "quoted"' -n alice -z 27 $V ed25519
