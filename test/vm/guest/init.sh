#!/bin/busybox sh
# The first process of a guest: mounts what a machine has, inserts the modules, runs the tests as whom the kernel's command
# line says, and switches the machine off.
export PATH=/usr/bin:/bin
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
# The archive has no /dev/console, so that nothing was opened for this process.
exec >/dev/console 2>&1
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t bpf -o mode=1777 bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /tmp/user && chown 1000:1000 /tmp/user
ln -s /proc/self/fd /dev/fd

# Messages of the kernel stay in its log, all but the grave ones: writing to the console takes time.
echo 3 >/proc/sys/kernel/printk
while read -r module; do
	insmod "/modules/$module" || echo "init: $module cannot be inserted"
done </modules/order
ip link set lo up

stty -F /dev/ttyS1 raw
word() {
	sed -n "s/.*\<$1=\([^ ]*\).*/\1/p" /proc/cmdline
}
FC_RUNS=$(word effect_bpf.runs) FC_SEED=$(word effect_bpf.seed)
EFFECT_BPF_FILE_LIMIT=$(word effect_bpf.limit) EFFECT_BPF_WITHOUT=$(word effect_bpf.without)
export FC_RUNS FC_SEED EFFECT_BPF_FILE_LIMIT EFFECT_BPF_WITHOUT
echo "init: $(uname -r), $(cut -d' ' -f1 /proc/uptime) s"

case $(word effect_bpf.as) in
user)
	# Nobody in particular, with the rights that the kernel asks of one who loads programs of every kind. By its path: the
	# shell has a setpriv of its own that changes no user.
	HOME=/tmp/user /usr/bin/setpriv --reuid=1000 --regid=1000 --clear-groups \
		--inh-caps=-all,+bpf,+perfmon,+net_admin --ambient-caps=+bpf,+perfmon,+net_admin /run-tests >/dev/ttyS1
	;;
*)
	HOME=/root /run-tests >/dev/ttyS1
	;;
esac
echo '{"_tag":"End"}' >/dev/ttyS1
dmesg | tail -n 40
# What is on its way to the console shall arrive.
sleep 1
poweroff -f
