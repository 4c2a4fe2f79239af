# Short names of the usual tasks. `cargo xtask --help` lists all of them.

.PHONY: build test vet trivy

build:
	cargo build --release --locked -p vctl -p vctl-agent

test:
	cargo xtask test

vet:
	cargo xtask check

trivy:
	cargo xtask trivy
