/*
 * AF_XDP through the kernel's own header and system calls alone: the other side of packets that effect-bpf's sockets send and
 * receive, what it is measured beside, and the layouts as the C compiler sees them.
 *
 *   xsk_peer layout                        prints sizes, offsets and constants as JSON
 *   xsk_peer receive DEVICE COUNT          prints "ready", receives and checks so many frames of sender 1
 *   xsk_peer send DEVICE COUNT             sends so many frames as sender 2
 *   xsk_peer bench NETNS DEVICE NETNS DEVICE COUNT LENGTH REPETITIONS
 *                                          sends frames from the first device to the second in one thread, prints JSON
 *
 * The frames are those of test/support/XskTraffic.ts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "timing.h"

#define FRAMES 4096
#define FRAME_SIZE 2048
#define RING 2048
#define BATCH 64

static void die(const char *what)
{
	fprintf(stderr, "xsk_peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

#define check(call) ({ __typeof__(call) result_ = (call); if ((long)result_ < 0) die(#call); result_; })

/* One ring: only the indices are shared by atomic accesses. */
struct ring {
	uint32_t *producer, *consumer, *flags;
	void *entries;
	uint32_t cached_producer, cached_consumer;
};

struct xsk {
	int fd;
	unsigned char *memory;
	struct ring fill, completion, rx, tx;
	uint32_t outstanding;
	uint64_t next;
};

static void *map_ring(struct ring *ring, int fd, const struct xdp_ring_offset *off, size_t entry, uint64_t place)
{
	char *at = mmap(NULL, off->desc + RING * entry, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, place);

	if (at == MAP_FAILED)
		die("mmap");
	ring->producer = (uint32_t *)(at + off->producer);
	ring->consumer = (uint32_t *)(at + off->consumer);
	ring->flags = (uint32_t *)(at + off->flags);
	ring->entries = at + off->desc;
	return at;
}

static void load_program(int ifindex, int fd)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 1 };
	int map = check((int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
	struct bpf_insn code[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = offsetof(struct xdp_md, rx_queue_index) },
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map },
		{ 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int prog, key = 0;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_XDP;
	attr.insns = (uintptr_t)code;
	attr.insn_cnt = sizeof(code) / sizeof(*code);
	attr.license = (uintptr_t) "MIT";
	attr.expected_attach_type = BPF_XDP;
	prog = check((int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)));
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)&fd;
	check(syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)));
	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = prog;
	attr.link_create.target_ifindex = ifindex;
	attr.link_create.attach_type = BPF_XDP;
	/* The link's descriptor stays open, and so the program attached, until the process ends. */
	check((int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)));
}

static void fill_frame(struct xsk *xsk, uint64_t address)
{
	((uint64_t *)xsk->fill.entries)[xsk->fill.cached_producer++ & (RING - 1)] = address;
}

static void submit(struct ring *ring)
{
	__atomic_store_n(ring->producer, ring->cached_producer, __ATOMIC_RELEASE);
}

static struct xsk *open_socket(const char *device, int receives)
{
	struct xsk *xsk = calloc(1, sizeof(*xsk));
	int size = RING, ifindex = if_nametoindex(device);
	struct xdp_mmap_offsets off;
	socklen_t length = sizeof(off);
	struct xdp_umem_reg reg = { .len = (uint64_t)FRAMES * FRAME_SIZE, .chunk_size = FRAME_SIZE };
	struct sockaddr_xdp address = {
		.sxdp_family = AF_XDP, .sxdp_ifindex = ifindex, .sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP,
	};

	xsk->memory = mmap(NULL, reg.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	reg.addr = (uintptr_t)xsk->memory;
	xsk->fd = check(socket(AF_XDP, SOCK_RAW, 0));
	check(setsockopt(xsk->fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)));
	check(setsockopt(xsk->fd, SOL_XDP, XDP_UMEM_FILL_RING, &size, sizeof(size)));
	check(setsockopt(xsk->fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &size, sizeof(size)));
	check(setsockopt(xsk->fd, SOL_XDP, XDP_RX_RING, &size, sizeof(size)));
	check(setsockopt(xsk->fd, SOL_XDP, XDP_TX_RING, &size, sizeof(size)));
	check(getsockopt(xsk->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &length));
	map_ring(&xsk->fill, xsk->fd, &off.fr, 8, XDP_UMEM_PGOFF_FILL_RING);
	map_ring(&xsk->completion, xsk->fd, &off.cr, 8, XDP_UMEM_PGOFF_COMPLETION_RING);
	map_ring(&xsk->rx, xsk->fd, &off.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING);
	map_ring(&xsk->tx, xsk->fd, &off.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
	/* The kernel takes a queue away from a socket that was closed a little later. */
	for (int tries = 0; tries < 4000 && bind(xsk->fd, (struct sockaddr *)&address, sizeof(address)) < 0; tries++) {
		if (errno != EBUSY || tries == 3999)
			die("bind");
		usleep(5000);
	}
	/* The lower half of the frames is received into, the upper half sent from. */
	if (receives) {
		for (int i = 0; i < RING; i++)
			fill_frame(xsk, (uint64_t)i * FRAME_SIZE);
		submit(&xsk->fill);
		load_program(ifindex, xsk->fd);
	}
	return xsk;
}

static uint32_t produced(struct ring *ring)
{
	if (ring->cached_producer == ring->cached_consumer)
		ring->cached_producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	return ring->cached_producer - ring->cached_consumer;
}

static void release(struct ring *ring, uint32_t count)
{
	ring->cached_consumer += count;
	__atomic_store_n(ring->consumer, ring->cached_consumer, __ATOMIC_RELEASE);
}

static void reclaim(struct xsk *xsk)
{
	uint32_t count = produced(&xsk->completion);

	xsk->outstanding -= count;
	if (count > 0)
		release(&xsk->completion, count);
}

static void kick(struct xsk *xsk)
{
	if (*xsk->tx.flags & XDP_RING_NEED_WAKEUP)
		sendto(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
}

static unsigned char *next_frame(struct xsk *xsk, uint32_t length)
{
	uint64_t address = (RING + xsk->next++ % RING) * FRAME_SIZE;
	struct xdp_desc *desc = (struct xdp_desc *)xsk->tx.entries + (xsk->tx.cached_producer++ & (RING - 1));

	desc->addr = address;
	desc->len = length;
	desc->options = 0;
	xsk->outstanding++;
	return xsk->memory + address;
}

static uint32_t length_of(uint32_t index)
{
	return 60 + index * 37 % 1441;
}

static void write_frame(unsigned char *at, uint32_t index, int sender, uint32_t length)
{
	memset(at, 2, 12);
	at[12] = 0x88, at[13] = 0xb5, at[14] = sender, at[15] = 0;
	memcpy(at + 16, &index, 4);
	for (uint32_t i = 20; i < length; i++)
		at[i] = index * 7 + sender * 31 + 1 + i * 13;
}

static int is_frame(const unsigned char *at, uint32_t length, uint32_t index, int sender)
{
	static unsigned char expected[FRAME_SIZE];

	if (length != length_of(index))
		return 0;
	write_frame(expected, index, sender, length);
	return memcmp(at + 12, expected + 12, length - 12) == 0;
}

static int send_all(const char *device, uint32_t count)
{
	struct xsk *xsk = open_socket(device, 0);

	for (uint32_t sent = 0; sent < count || xsk->outstanding > 0;) {
		for (; sent < count && xsk->outstanding < 512; sent++)
			write_frame(next_frame(xsk, length_of(sent)), sent, 2, length_of(sent));
		submit(&xsk->tx);
		kick(xsk);
		reclaim(xsk);
		/* Who receives is not to be overrun. */
		usleep(200);
	}
	return 0;
}

static int receive_all(const char *device, uint32_t count)
{
	struct xsk *xsk = open_socket(device, 1);
	uint32_t got = 0, wrong = 0;

	printf("ready\n");
	fflush(stdout);
	while (got < count) {
		struct pollfd at = { .fd = xsk->fd, .events = POLLIN };
		uint32_t ready = produced(&xsk->rx);

		if (ready == 0) {
			if (poll(&at, 1, 10000) <= 0)
				break;
			continue;
		}
		for (uint32_t i = 0; i < ready; i++) {
			struct xdp_desc *desc =
				(struct xdp_desc *)xsk->rx.entries + ((xsk->rx.cached_consumer + i) & (RING - 1));
			unsigned char *data = xsk->memory + desc->addr;

			fill_frame(xsk, desc->addr / FRAME_SIZE * FRAME_SIZE);
			if (data[12] != 0x88 || data[13] != 0xb5)
				continue;
			wrong += !is_frame(data, desc->len, got, 1);
			got++;
		}
		release(&xsk->rx, ready);
		submit(&xsk->fill);
	}
	printf("{\"received\":%u,\"wrong\":%u}\n", got, wrong);
	return got == count && wrong == 0 ? 0 : 1;
}

static void enter(const char *netns)
{
	int fd = check(open(netns, O_RDONLY));

	check(setns(fd, CLONE_NEWNET));
	close(fd);
}

static int bench(char **argv)
{
	uint32_t count = atoi(argv[4]), length = atoi(argv[5]), repetitions = atoi(argv[6]);
	double *times = calloc(repetitions, sizeof(*times));
	uint64_t sum = 0;
	struct xsk *from, *to;

	enter(argv[0]);
	from = open_socket(argv[1], 0);
	enter(argv[2]);
	to = open_socket(argv[3], 1);
	for (uint32_t round = 0; round < repetitions + 3; round++) {
		double begin = time_now();
		uint32_t sent = 0, got = 0;

		while (got < count) {
			uint32_t ready;

			reclaim(from);
			for (uint32_t i = 0; i < BATCH && sent < count && from->outstanding < RING; i++, sent++)
				memset(next_frame(from, length), sent, length);
			submit(&from->tx);
			kick(from);
			ready = produced(&to->rx);
			for (uint32_t i = 0; i < ready; i++) {
				struct xdp_desc *desc =
					(struct xdp_desc *)to->rx.entries + ((to->rx.cached_consumer + i) & (RING - 1));

				sum += to->memory[desc->addr + desc->len - 1];
				fill_frame(to, desc->addr / FRAME_SIZE * FRAME_SIZE);
			}
			if (ready > 0) {
				release(&to->rx, ready);
				submit(&to->fill);
			}
			got += ready;
		}
		if (round >= 3)
			times[round - 3] = time_now() - begin;
	}
	print_times(times, repetitions, "sum", sum);
	return 0;
}

#define number(name) printf("%s\"%s\":%llu", first++ ? "," : "{", #name, (unsigned long long)(name))
#define place(type, field) \
	printf(",\"%s.%s\":%zu", #type, #field, offsetof(struct type, field))
#define size(type) printf(",\"%s\":%zu", #type, sizeof(struct type))

static int layout(void)
{
	int first = 0;

	number(AF_XDP); number(SOL_XDP);
	number(XDP_MMAP_OFFSETS); number(XDP_RX_RING); number(XDP_TX_RING); number(XDP_UMEM_REG);
	number(XDP_UMEM_FILL_RING); number(XDP_UMEM_COMPLETION_RING); number(XDP_STATISTICS); number(XDP_OPTIONS);
	number(XDP_SHARED_UMEM); number(XDP_COPY); number(XDP_ZEROCOPY); number(XDP_USE_NEED_WAKEUP);
	number(XDP_UMEM_UNALIGNED_CHUNK_FLAG); number(XDP_RING_NEED_WAKEUP); number(XDP_OPTIONS_ZEROCOPY);
	number(XDP_PGOFF_RX_RING); number(XDP_PGOFF_TX_RING); number(XDP_UMEM_PGOFF_FILL_RING);
	number(XDP_UMEM_PGOFF_COMPLETION_RING); number(XSK_UNALIGNED_BUF_OFFSET_SHIFT);
	number(SO_BUSY_POLL); number(SO_PREFER_BUSY_POLL); number(SO_BUSY_POLL_BUDGET); number(SOL_SOCKET);
#ifdef XDP_USE_SG
	number(XDP_USE_SG); number(XDP_PKT_CONTD);
#endif
#ifdef XDP_UMEM_TX_METADATA_LEN
	number(XDP_UMEM_TX_SW_CSUM); number(XDP_UMEM_TX_METADATA_LEN); number(XDP_TX_METADATA);
#endif
#ifdef XDP_MAX_TX_SKB_BUDGET
	number(XDP_MAX_TX_SKB_BUDGET);
#endif
	size(sockaddr_xdp); place(sockaddr_xdp, sxdp_family); place(sockaddr_xdp, sxdp_flags);
	place(sockaddr_xdp, sxdp_ifindex); place(sockaddr_xdp, sxdp_queue_id); place(sockaddr_xdp, sxdp_shared_umem_fd);
	place(xdp_umem_reg, addr); place(xdp_umem_reg, len); place(xdp_umem_reg, chunk_size);
	place(xdp_umem_reg, headroom); place(xdp_umem_reg, flags);
	size(xdp_mmap_offsets); place(xdp_mmap_offsets, rx); place(xdp_mmap_offsets, tx);
	place(xdp_mmap_offsets, fr); place(xdp_mmap_offsets, cr);
	size(xdp_ring_offset); place(xdp_ring_offset, producer); place(xdp_ring_offset, consumer);
	place(xdp_ring_offset, desc); place(xdp_ring_offset, flags);
	size(xdp_desc); place(xdp_desc, addr); place(xdp_desc, len); place(xdp_desc, options);
	size(xdp_statistics); place(xdp_statistics, rx_dropped); place(xdp_statistics, rx_invalid_descs);
	place(xdp_statistics, tx_invalid_descs); place(xdp_statistics, rx_ring_full);
	place(xdp_statistics, rx_fill_ring_empty_descs); place(xdp_statistics, tx_ring_empty_descs);
	printf("}\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "layout") == 0)
		return layout();
	if (argc == 4 && strcmp(argv[1], "receive") == 0)
		return receive_all(argv[2], atoi(argv[3]));
	if (argc == 4 && strcmp(argv[1], "send") == 0)
		return send_all(argv[2], atoi(argv[3]));
	if (argc == 9 && strcmp(argv[1], "bench") == 0)
		return bench(argv + 2);
	fprintf(stderr, "usage: xsk_peer layout | receive DEVICE COUNT | send DEVICE COUNT | bench NETNS DEVICE NETNS DEVICE COUNT LENGTH REPETITIONS\n");
	return 2;
}
