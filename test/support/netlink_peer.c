/* Attaches programs to a network device with libbpf's netlink functions, for a trace of what it sends. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int load(enum bpf_prog_type type, const char *name)
{
	struct bpf_insn insns[] = {
		{ .code = 0xb7, .dst_reg = 0, .imm = type == BPF_PROG_TYPE_XDP ? 2 : 0 },
		{ .code = 0x95 },
	};
	int fd = bpf_prog_load(type, name, "GPL", insns, 2, NULL);

	if (fd < 0) {
		fprintf(stderr, "load: %d\n", fd);
		exit(1);
	}
	return fd;
}

static void check(const char *what, int result)
{
	if (result) {
		fprintf(stderr, "%s: %d\n", what, result);
		exit(1);
	}
}

/* Arguments: the number of the device. Prints the descriptors of the programs and the identifier of the classifier. */
int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;

	int ifindex = atoi(argv[1]), xdp = load(BPF_PROG_TYPE_XDP, "one"), other = load(BPF_PROG_TYPE_XDP, "other");
	int cls = load(BPF_PROG_TYPE_SCHED_CLS, "cls");
	LIBBPF_OPTS(bpf_xdp_attach_opts, replace, .old_prog_fd = xdp);
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = cls, .handle = 3, .priority = 10);
	LIBBPF_OPTS(bpf_tc_opts, where, .handle = 3, .priority = 10);

	check("xdp attach", bpf_xdp_attach(ifindex, xdp, 3 /* UPDATE_IF_NOEXIST | SKB_MODE */, NULL));
	check("xdp replace", bpf_xdp_attach(ifindex, other, 2, &replace));
	check("xdp detach", bpf_xdp_detach(ifindex, 2, NULL));
	check("hook", bpf_tc_hook_create(&hook));
	check("tc attach", bpf_tc_attach(&hook, &opts));
	opts.prog_id = 0;
	opts.flags = BPF_TC_F_REPLACE;
	check("tc replace", bpf_tc_attach(&hook, &opts));
	check("tc detach", bpf_tc_detach(&hook, &where));
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	check("destroy", bpf_tc_hook_destroy(&hook));
	printf("%d %d %d %u\n", xdp, other, cls, opts.prog_id);
	return 0;
}
