#!/bin/sh
# Stands in for systemd, which is not pid 1 where the specs run. `/run/fail` names a command that fails; `/run/meanwhile`
# is a script that runs before it does.
set -e
case "$1" in
--root=*)
    root=${1#--root=}
    shift
    ;;
*) root= ;;
esac
enabled=$root/etc/systemd/system/multi-user.target.wants
echo "$*" >> /run/systemctl.log
if [ "$*" = "$(cat /run/fail 2> /dev/null)" ]; then
    [ ! -f /run/meanwhile ] || sh /run/meanwhile
    echo "Job for $3 failed." >&2
    exit 1
fi
for unit in "$@"; do :; done
start() {
    case "$unit" in
    vctl-collect.service)
        file=/etc/systemd/system/$unit
        [ -f "$file" ] || file=/usr/lib/systemd/system/$unit
        if grep -q '^ExecStart=/bin/sleep' "$file"; then
            setsid sleep infinity < /dev/null > /dev/null 2>&1 &
            echo $! > "/run/$unit.pid"
            return
        fi
        command=$(cat "$file" /etc/systemd/system/$unit.d/*.conf 2> /dev/null |
            sed -n 's/^ExecStart=\(.\)/\1/p' | tail -n 1)
        : > /run/collect.log
        setsid $command < /dev/null > /run/collect.log 2>&1 &
        pid=$!
        for _ in $(seq 300); do
            # As systemd: when the agent says that it is ready. The socket is there before the probe.
            ! grep -q 'The collector is ready' /run/collect.log || break
            kill -0 $pid
            sleep 0.1
        done
        ;;
    *)
        setsid sleep infinity < /dev/null > /dev/null 2>&1 &
        pid=$!
        ;;
    esac
    echo $pid > "/run/$unit.pid"
}
stop() {
    [ -f "/run/$unit.pid" ] || return 0
    pid=$(cat "/run/$unit.pid")
    kill "$pid"
    while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
    rm -f "/run/$unit.pid"
    [ "$unit" != vctl-collect.service ] || rm -f /run/vctl/agent.sock
}
# The log has it; no unit here takes long to start.
[ "$1" != --no-block ] || shift
case "$1 $2" in
"--version "*) ;;
"is-active "*)
    state=inactive
    [ ! -f "/run/$unit.pid" ] || state=active
    [ ! -f "/run/$unit.state" ] || state=$(cat "/run/$unit.state")
    [ "$2" = --quiet ] || echo "$state"
    [ "$state" = active ]
    ;;
"show --property=MainPID") cat "/run/$unit.pid" 2> /dev/null || echo 0 ;;
"is-enabled "*) [ -L "$enabled/$unit" ] ;;
"daemon-reload "*) ;;
"enable --now")
    ln -sf "/etc/systemd/system/$unit" "$enabled/$unit"
    [ -f "/run/$unit.pid" ] || start
    ;;
"enable "*) ln -sf "/etc/systemd/system/$unit" "$enabled/$unit" ;;
"disable --now")
    rm -f "$enabled/$unit"
    stop
    ;;
"disable "*) rm -f "$enabled/$unit" ;;
"stop "*)
    shift
    for unit in "$@"; do stop; done
    ;;
"start "*) [ -f "/run/$unit.pid" ] || start ;;
"try-restart "*)
    shift
    for unit in "$@"; do
        [ -f "/run/$unit.pid" ] || continue
        stop
        start
    done
    ;;
"restart "*)
    if [ ! -f "/etc/systemd/system/$unit" ] && [ ! -f "/usr/lib/systemd/system/$unit" ]; then
        echo "Unit $unit not found." >&2
        exit 5
    fi
    stop
    start
    ;;
"reload "*) kill -HUP "$(cat /run/sshd.pid)" ;;
*)
    echo "systemctl: the specs have no substitute for \`$*\`" >&2
    exit 1
    ;;
esac
