// What the parts of btf_peer share: texts that grow, answers, blobs.

#ifndef BTF_PEER_H
#define BTF_PEER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#define AT_LEAST(minor) (LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= (minor))

// In btf_answer.c.

struct text {
	char *bytes;
	size_t size, room;
};

extern struct text log_text; // what libbpf said since the last clear()

void *must(void *memory); // ends the process where there is none
void append(struct text *text, const char *format, va_list list);
void clear(struct text *text);
int log_line(enum libbpf_print_level level, const char *format, va_list list);

void put_error(int error);
int failed_with(int error);
int write_out(const char *name, const char *path, const void *bytes, size_t size);
int put_blob(const char *name, const char *path, const struct btf *btf);
int put_result(const char *path, const struct btf *btf);

// In btf_blob.c.

struct btf *load(const char *file, struct btf *base, struct btf_ext **ext);
struct btf *use(const char *file, struct btf *base);
void make_room(void); // before a command: for all that it uses
void forget(void);

// Commands: they print an answer, and give the exit status. Arguments follow the command's name.

extern bool batch; // answers are lines of JSON, whatever the command

int raw_command(int count, char **args, struct btf *base); // in btf_make.c
int append_command(int count, char **args, struct btf *base);
int dedup_command(int count, char **args, struct btf *base);
int dedup_twice_command(int count, char **args, struct btf *base);
int distill_command(int count, char **args, struct btf *base);
int relocate_command(int count, char **args, struct btf *base);
int redistill_command(int count, char **args, struct btf *base);

int decl_command(int count, char **args, struct btf *base); // in btf_text.c
int dumpc_command(int count, char **args, struct btf *base);
int find_command(int count, char **args, struct btf *base);
int layout_command(int count, char **args, struct btf *base);

int bench_command(int count, char **args, struct btf *base); // in btf_bench.c

#endif
