#!/bin/bash
# Entrypoint of the test image; follows the official one where it matters:
#  - no argument, "eswrapper", or arguments that start with "-" run Elasticsearch, and so does "elasticsearch ...";
#  - an environment variable with a dot in its lower-case name is a setting: cluster.name=x becomes -Ecluster.name=x;
#  - ES_PATH_CONF is the configuration directory;
#  - started as root it drops to 1000:0.
set -e
umask 0002
cd /usr/share/elasticsearch
case "${1:-}" in
  eswrapper | elasticsearch | bin/elasticsearch | /usr/share/elasticsearch/bin/elasticsearch) shift ;;
  '' | -*) ;;
  *) exec "$@" ;;
esac
settings=()
while IFS= read -r -d '' variable; do
  name=${variable%%=*} value=${variable#*=}
  if [[ $name =~ ^[a-z0-9_]+(\.[a-z0-9_]+)+$ && -n $value ]]; then settings+=("-E$name=$value"); fi
done </proc/self/environ
as=()
if [[ $(id -u) == 0 ]]; then as=(chroot --userspec=1000:0 --skip-chdir /); fi
exec "${as[@]}" bin/elasticsearch "${settings[@]}" "$@" </dev/null
