#!/bin/sh
# While the image is built: our code, and the environments of agent and trainer, complete and
# checked, so that a rented machine has nothing to install.
#
#   environments.sh CODE.zip BASE [PYTHON]
#
# Needs no root, only a BASE that may be written to. CODE.zip is what the console sends to a machine
# without this image; its name is its hash.
set -eu

code=$1 base=$2 python=${3:-python3.12}
key=$(basename "$code" .zip)

mkdir -p "$base/code"
cp "$code" "$base/code/$key.zip"
PYTHONPATH="$base/code/$key.zip" "$python" -P -m agent.installation image \
    --base "$base" --code "$key"
rm "$base/code/$key.zip"

# `brightrun-agent run JOB.toml` trains without any console, by the trainer of the image.
agent=$(echo "$base"/env/*/bin/python)
trainer=$(echo "$base"/trainer-env/*/bin/python)
mkdir -p "$base/bin"
cat > "$base/bin/brightrun-agent" <<WRAPPER
#!/bin/sh
export PYTHONPATH='$base/code/$key'
command=\$1
[ "\$#" -eq 0 ] || shift
case \$command in
    run | serve) set -- --trainer-command '$trainer -P -m agent.trainer' "\$@" ;;
esac
exec '$agent' -P -m agent.cli \${command:+"\$command"} "\$@"
WRAPPER
chmod 755 "$base/bin/brightrun-agent"
chmod -R a+rX "$base"
