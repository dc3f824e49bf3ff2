#!/bin/sh
# As root, while the image is built: Python, sshd, tini and what our start command runs.
# Ubuntu's packages come signed, so their versions are the distribution's: pinning them would break
# the build with the next security update, since its archive keeps no older ones.
set -eu

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends \
    ca-certificates curl openssh-server python3.12 python3.12-venv tini
rm -rf /var/lib/apt/lists/*

# The package has made host keys: in an image they would be everybody's. Each container makes its
# own at its first start.
rm -f /etc/ssh/ssh_host_*

mkdir -p /run/sshd /workspace
cat > /etc/ssh/sshd_config.d/brightrun.conf <<'CONFIG'
# The key of PUBLIC_KEY opens the machine, and nothing else does.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
# The agent listens on a socket in the container, which the console reaches through SSH.
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
X11Forwarding no
MaxStartups 100
CONFIG
