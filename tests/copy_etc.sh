#!/bin/sh
# Copies /etc into a directory, for a machine in namespaces. Argument: the directory that gets `etc`.
# Labs beside it add and remove files meanwhile: locks of accounts, and one PAM service and one sudo rule for each lab.
# Such a file can vanish during the copy, and a package with a line of a lab's service in its /etc could not be removed.
set -e
tar -C / --exclude='etc/*.lock' --exclude='etc/pam.d/sshd*-[0-9]*' --exclude='etc/sudoers.d/vctl-lab-*' -cf - etc |
    tar -C "$1" -xpf -
