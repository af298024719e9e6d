#!/usr/bin/env bash
# Runs a small Ceph cluster with its S3 gateway, for tests against a store that shares no code with ours.
#
#   tests/ceph.sh start DIRECTORY PORT   starts monitor, OSD (in memory) and gateway; prints the endpoint
#   tests/ceph.sh stop DIRECTORY         stops them
#
# Needs root and Debian's ceph-mon, ceph-osd, ceph-common and radosgw. The keys are `test-access-key`
# and `test-secret-key`, the region `default`, the bucket `flowstate`. Everything listens on 127.0.0.1.
set -euo pipefail

start() {
  local dir=$1 port=$2 monitor=$(($2 + 1))
  mkdir -p "$dir"/{mon,osd,run,log}
  cat >"$dir/ceph.conf" <<EOF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = 127.0.0.1:$monitor
mon initial members = a
public network = 127.0.0.0/8
public addr = 127.0.0.1
run dir = $dir/run
admin socket = $dir/run/\$name.asok
pid file = $dir/run/\$name.pid
log file = $dir/log/\$name.log
keyring = $dir/keyring
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = true
mon data = $dir/mon
mon data avail crit = 1
mon data avail warn = 2
mon allow pool size one = true
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = 1073741824
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw run sync thread = false
rgw enable lc threads = false
rgw thread pool size = 32
EOF
  export CEPH_CONF=$dir/ceph.conf
  ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
  monmaptool --create --fsid "$(sed -n 's/^fsid = //p' "$CEPH_CONF")" --addv a "[v1:127.0.0.1:$monitor]" "$dir/monmap"
  ceph-mon --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
  ceph-mon -i a
  local osd
  osd=$(cat /proc/sys/kernel/random/uuid)
  timeout 60 ceph osd new "$osd" 0
  ceph-osd -i 0 --mkfs --osd-uuid "$osd"
  ceph-osd -i 0
  radosgw -n client.admin
  for _ in $(seq 300); do
    if curl -s -o /dev/null "http://127.0.0.1:$port/"; then break; fi
    sleep 0.1
  done
  timeout 60 radosgw-admin user create --uid=flowstate --display-name=flowstate \
    --access-key=test-access-key --secret-key=test-secret-key
}

stop() {
  local pid
  for pid in "$1"/run/client.admin.pid "$1"/run/mon.a.pid; do
    if [ -s "$pid" ]; then kill "$(cat "$pid")" 2>/dev/null || true; fi
  done
  # Without its monitor, an OSD does not listen to anything milder.
  if [ -s "$1/run/osd.0.pid" ]; then kill -9 "$(cat "$1/run/osd.0.pid")" 2>/dev/null || true; fi
}

case ${1:-} in
  start)
    start "$2" "$3" >"$2.log" 2>&1 || { tail -n 20 "$2.log" >&2; exit 1; }
    echo "http://127.0.0.1:$3"
    ;;
  stop) stop "$2" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
