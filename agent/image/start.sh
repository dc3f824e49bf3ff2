#!/bin/bash
# What the image's container runs: sshd for the key in PUBLIC_KEY, as RunPod's own images do. The
# start command of a rented machine ends with it. It may be run again in the same container.
#
# The fingerprints of the host keys go to stdout: the console reads them there, through the
# provider's API, and trusts this machine and no other. Nobody can log in before.

ssh_directory=${SSH_DIRECTORY:-/etc/ssh}
port=${SSHD_PORT:-22}

make_host_keys() {
    local type key
    for type in ed25519 ecdsa rsa; do
        key=$ssh_directory/ssh_host_${type}_key
        [ -f "$key" ] || ssh-keygen -q -t "$type" -N '' -C "root@${RUNPOD_POD_ID:-container}" -f "$key"
    done
    echo 'SSH host keys:'
    for key in "$ssh_directory"/ssh_host_*_key.pub; do
        ssh-keygen -l -f "$key"
    done
}

let_in() {
    local keys=$HOME/.ssh/authorized_keys
    mkdir -p "$HOME/.ssh"
    chmod 700 "$HOME/.ssh"
    touch "$keys"
    chmod 600 "$keys"
    grep -qxF -- "$1" "$keys" || printf '%s\n' "$1" >> "$keys"
}

start_sshd() {
    local sshd key
    local options=(-f "$ssh_directory/sshd_config" -p "$port")
    sshd=$(command -v sshd || echo /usr/sbin/sshd)
    for key in "$ssh_directory"/ssh_host_*_key; do
        options+=(-h "$key")
    done
    # Not in the background of this shell: sshd has to outlive what is killed beside it.
    "$sshd" "${options[@]}" || echo 'sshd did not start'
}

if [ -n "$PUBLIC_KEY" ]; then
    let_in "$PUBLIC_KEY"
    make_host_keys
    start_sshd
else
    echo 'PUBLIC_KEY is not set: nobody can log in, and sshd is not started'
fi
echo 'Start script finished, pod is ready to use.'

# A container whose main process ends is started again for ever, and paid for.
exec sleep infinity
