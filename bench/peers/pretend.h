// A kernel that lacks features, as libbpf sees it: its probes for them are answered EINVAL, everything else goes to the
// kernel. Which ones says the environment, LIBBPF_PEER_WITHOUT=BTF_FLOAT,PROG_NAME, in libbpf's words without "FEAT_".
#ifndef PRETEND_H
#define PRETEND_H

#include <stdbool.h>

#include <linux/bpf.h>

// Whether anything is pretended at all.
bool pretending(void);

// The feature that libbpf asks for by this call; null for a call of another purpose. A program or map is known by what it
// is, since the kernel that is pretended may not take names: one of an object that is just the same is taken for a probe.
const char *pretend_probe(int command, const union bpf_attr *attr);

// Whether to answer EINVAL in the kernel's place.
bool pretend_refuses(int command, const union bpf_attr *attr);

#endif
