#!/bin/sh
# Stands in for systemd, which is not pid 1 where the tests run: does by hand what the unit says.
set -e
unit=/usr/lib/systemd/system/vctl-collect.service
drop_ins=/etc/systemd/system/vctl-collect.service.d
start() {
    command=$(cat "$unit" "$drop_ins"/*.conf 2> /dev/null | sed -n 's/^ExecStart=\(.\)/\1/p' | tail -n 1)
    setsid $command < /dev/null > /run/collect.log 2>&1 &
    pid=$!
    echo $pid > /run/collect.pid
    for _ in $(seq 200); do
        # The socket is there before the probe.
        ! grep -q 'The collector is ready' /run/collect.log || exit 0
        kill -0 $pid
        sleep 0.1
    done
    cat /run/collect.log >&2
    exit 1
}
stop() {
    pid=$(cat /run/collect.pid)
    kill "$pid"
    while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
    rm -f /run/vctl/agent.sock /run/collect.pid
}
case "$*" in
daemon-reload | "enable vctl-collect" | "enable vctl-node-agent") ;;
"is-active --quiet vctl-collect.service" | "is-enabled --quiet vctl-collect.service")
    [ -f /run/collect.pid ]
    ;;
"is-active --quiet ssh.service") ;;
"is-active --quiet "*) exit 3 ;;
"reload ssh.service")
    kill -HUP "$(cat /run/sshd.pid)"
    ;;
"enable --now vctl-collect.service")
    [ -f /run/collect.pid ] || start
    ;;
"restart vctl-collect.service")
    stop
    start
    ;;
"enable --now vctl-node-agent.service")
    # The unit of the node agent reports at its start.
    /usr/sbin/vctl-agent node --once
    ;;
"disable --now vctl-collect.service" | "disable --now vctl-node-agent.service")
    [ ! -f /run/collect.pid ] || stop
    ;;
*)
    echo "systemctl: the test of the README has no substitute for \`systemctl $*\`" >&2
    exit 1
    ;;
esac
