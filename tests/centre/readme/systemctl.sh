#!/bin/sh
# Stands in for systemd, which is not pid 1 where the tests run: does by hand what the unit says.
set -e
unit=/etc/systemd/system/vctl-collect.service
start() {
    command=$(cat "$unit" "$unit".d/*.conf 2> /dev/null | sed -n 's/^ExecStart=\(.\)/\1/p' | tail -n 1)
    setsid $command < /dev/null > /run/collect.log 2>&1 &
    pid=$!
    echo $pid > /run/collect.pid
    for _ in $(seq 200); do
        [ ! -S /run/vctl/agent.sock ] || exit 0
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
    rm -f /run/vctl/agent.sock
}
case "$*" in
"enable --now vctl-collect")
    start
    ;;
"restart vctl-collect vctl-node-agent")
    stop
    (start)
    # The unit of the node agent reports at once, too.
    /usr/sbin/vctl-agent node --once
    ;;
"disable --now vctl-collect")
    stop
    ;;
*)
    echo "systemctl: the test of the README has no substitute for \`systemctl $*\`" >&2
    exit 1
    ;;
esac
