#!/bin/sh
# Stands in for cargo, so that nothing is built twice: each case is one substitution, and a command
# line without a case fails.
set -e
case "$*" in
"build --release" | build)
    # The programs that were built before this test.
    mkdir -p target/release
    ln -sf @BIN@/vctl @BIN@/vctl-agent target/release/
    ;;
"xtask dist --formats deb")
    # The clone belongs to another user, so git is not asked for the time of the commit.
    SOURCE_DATE_EPOCH=1 exec @BIN@/xtask dist --profile dev --programs @BIN@ --formats deb --out "$PWD/target/dist"
    ;;
"xtask demo")
    exec sudo @BIN@/demo
    ;;
"xtask stack up" | "xtask stack env" | "xtask stack down")
    exec sudo @BIN@/stack --called "cargo xtask stack" "$3"
    ;;
"run -p vctl -- "*)
    shift 4
    exec @BIN@/vctl "$@"
    ;;
test)
    # This test is a part of it.
    ;;
"xtask bench --short")
    exec @BIN@/bench --short --help
    ;;
"xtask test" | "xtask check" | "xtask deny" | "xtask ebpf check" | "xtask kernels --short")
    # Minutes each, and CI runs them: only that the task and its flags exist.
    shift
    exec @BIN@/xtask "$@" --help
    ;;
*)
    echo "cargo: the test of the README has no substitute for \`cargo $*\`" >&2
    exit 101
    ;;
esac
