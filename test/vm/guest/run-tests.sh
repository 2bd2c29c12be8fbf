#!/bin/sh
# Runs each bundled test file in a process of its own. Output is kept in files first: a serial port is no place to wait for.
cd /repo || exit 1
out=$(mktemp)
err=$(mktemp)
for script in /vm/tests/*.test.js; do
	name=${script##*/}
	case ",$EFFECT_BPF_WITHOUT," in
	*,"${name%.js}.ts",*) continue ;;
	esac
	echo "{\"_tag\":\"File\",\"file\":\"${name%.js}.ts\"}"
	start=$(cut -d. -f1 /proc/uptime)
	timeout -k 5 "${EFFECT_BPF_FILE_LIMIT:-300}" node --no-warnings "$script" >"$out" 2>"$err" </dev/null
	status=$?
	cat "$out"
	# Each skipped group says so on standard error; its line comes with the tests already.
	grep -v '^skipped: ' "$err" | head -c 20000
	echo
	echo "{\"_tag\":\"Exit\",\"status\":$status,\"seconds\":$(($(cut -d. -f1 /proc/uptime) - start))}"
done
