/*
 * Loads every program of the kernel's verifier tests (tools/testing/selftests/bpf/test_verifier.c, which is included from
 * the sources that corpus.sh unpacks) and prints, a line of JSON each, what the verifier said of those that it refused.
 *
 * Their maps, descriptors and types are made by their own code; only the load is ours, to have the whole log.
 */
#include <sys/wait.h>
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
#define main tests_main
#define bpf_prog_load recorded_load
#include <bpf/bpf.h>
#include "test_verifier.c"
#undef main
#undef bpf_prog_load

int bpf_prog_load(enum bpf_prog_type type, const char *name, const char *license, const struct bpf_insn *insns,
		  size_t count, const struct bpf_prog_load_opts *opts);

/* Instructions, states and statistics. */
#define LOG_LEVEL 5

static char text[4 << 20];
static struct bpf_test *current;

static void quoted(const char *at)
{
	putchar('"');
	for (; *at; at++) {
		unsigned char c = *at;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 32 || c > 126)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

int recorded_load(enum bpf_prog_type type, const char *name, const char *license, const struct bpf_insn *insns,
		  size_t count, const struct bpf_prog_load_opts *given)
{
	struct bpf_prog_load_opts opts = *given;
	int fd;

	text[0] = 0;
	opts.log_buf = text;
	opts.log_size = sizeof(text);
	opts.log_level = LOG_LEVEL;
	fd = bpf_prog_load(type, name, license, insns, count, &opts);
	if (fd < 0) {
		/* Their own messages stand around ours. */
		printf("\n@@{\"name\":");
		quoted(current->descr);
		printf(",\"errno\":%d,\"log\":", -fd);
		quoted(text);
		printf("}\n");
	}
	return fd;
}

int main(void)
{
	int passes = 0, errors = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		int child;

		current = &tests[i];
		/* Those that are meant to load, and the largest ones, take long and tell nothing. */
		if (current->result != REJECT || current->fill_helper)
			continue;
		fflush(stdout);
		/* Some crash where the kernel lacks what they need. */
		child = fork();
		if (child == 0) {
			do_test_single(current, false, &passes, &errors);
			fflush(stdout);
			_exit(0);
		}
		if (child > 0)
			waitpid(child, NULL, 0);
	}
	return 0;
}
