#!/usr/bin/env bash
# One fault class, N cycles of M writes, as scripts of the original's users call it; ai-memory-chaos injects for real.
#
# Usage:
#   ./run-chaos.sh [--cycles N] [--fault CLASS] [--writes M] [--verbose]
#
# Defaults: --cycles 10 --fault kill_primary_mid_write --writes 100
# Environment: WORKDIR (scratch and report), AI_MEMORY_BIN, N0_PORT, N1_PORT, N2_PORT.
# Leaves $WORKDIR/chaos-report.jsonl, a line per cycle, and prints a summary.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin    # iptables
here=$(dirname "$(readlink -f "$0")")
if [ -z "${WORKDIR:-}" ]; then
    WORKDIR=$(mktemp -d -t ai-memory-chaos.XXXXXX)
fi
mkdir -p "$WORKDIR"
export WORKDIR
export N0_PORT=${N0_PORT:-19077} N1_PORT=${N1_PORT:-19078} N2_PORT=${N2_PORT:-19079}
export AI_MEMORY_BIN=${AI_MEMORY_BIN:-$here/../build/release/ai-memory}
chaos=${AI_MEMORY_CHAOS:-$here/../build/release/ai-memory-chaos}
case ${1:-} in
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
[ -x "$chaos" ] || { echo "[chaos] FATAL: binary not found / not executable: $chaos (./dev build)" >&2; exit 1; }
exec "$chaos" classic "$@"
