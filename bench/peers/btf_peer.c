// The C library as a judge and as a peer of BTF: what libbpf makes of blobs, through its public API alone.
//
// A FILE is a raw blob, an ELF file with .BTF, or hex:DIGITS; an OUT is a path, or - for hexadecimal digits in the answer.
// Every command takes --base FILE for split BTF at its end. An answer is one line of JSON; a blob in it, "result" or
// what the command's line calls it, has its number of types, those of the base and void included, and its bytes.
//
//   raw FILE OUT [little|big]                parsed and written again, in this byte order
//   append FILE OTHER OUT                    FILE with the types of OTHER appended
//   dedup FILE OUT [OUT_EXT]                 deduplicated; OUT_EXT gets the rewritten .BTF.ext of an ELF file
//   dedup-twice FILE OUT                     appended to itself, then deduplicated
//   distill SPLIT BASE OUT_BASE OUT_SPLIT    (libbpf 1.5) the distilled base, and the blob split over it
//   relocate SPLIT BASE NEW_BASE OUT         (libbpf 1.5) moved from BASE, a distilled one, onto NEW_BASE
//   redistill SPLIT BASE NEW_BASE OUT        (libbpf 1.5) distilled from BASE, and relocated onto NEW_BASE
//   decl FILE TYPE_ID [OPTION...]            "text" of a declaration; options: name=TEXT, indent_level=N, strip_mods
//   dumpc FILE [TYPE_ID...]                  C of all types, or of these and what they need (plain text, no JSON)
//   find FILE                                for each line "KIND NAME" of standard input, KIND a number and 0 for any, a
//                                            line with the id or the negative errno (plain text, no JSON)
//   layout FILE                              a line "ID SIZE ALIGNMENT" for each own type, negative errno where there is
//                                            none (plain text, no JSON)
//   version                                  version of libbpf's headers and of the library
//   batch [SECONDS]                          a command of the above in each line of standard input, fields divided by
//                                            tabs; for each a line with its answer, "text" in JSON for plain text. A
//                                            command that takes longer than SECONDS (60) ends the process by SIGALRM.
//   bench parse FILE N                       nanoseconds of N times btf__new from memory; "heap_bytes" it takes
//   bench load FILE N                        btf__load_vmlinux_btf, whatever FILE is
//   bench find FILE NAME KIND N              btf__find_by_name_kind
//   bench dedup FILE N                       btf__dedup of FILE appended to itself; only dedup is timed
//   bench append FILE N                      btf__add_btf of FILE to itself
//   bench dump FILE N                        C of all types into nothing
//
// Values as text are btf_data.c's part.
//
// Exit status: 0, 1 when libbpf failed ("error" has errno, name, and libbpf's log), 2 for wrong usage.

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "btf_peer.h"
#include "json.h"

bool batch;

static int version_command(int count, char **args, struct btf *base)
{
	char text[32];

	(void)count, (void)args, (void)base;
	snprintf(text, sizeof(text), "%d.%d", LIBBPF_MAJOR_VERSION, LIBBPF_MINOR_VERSION);
	begin('{');
	put_string("headers", text);
	put_string("library", libbpf_version_string());
	end('}');
	return 0;
}

static const struct command {
	const char *name;
	int fewest, most; // arguments
	int (*run)(int count, char **args, struct btf *base);
} commands[] = {
	{ "raw", 2, 3, raw_command },
	{ "append", 3, 3, append_command },
	{ "dedup", 2, 3, dedup_command },
	{ "dedup-twice", 2, 2, dedup_twice_command },
	{ "distill", 4, 4, distill_command },
	{ "relocate", 4, 4, relocate_command },
	{ "redistill", 4, 4, redistill_command },
	{ "decl", 2, 5, decl_command },
	{ "dumpc", 1, 1 << 20, dumpc_command },
	{ "find", 1, 1, find_command },
	{ "layout", 1, 1, layout_command },
	{ "version", 0, 0, version_command },
	{ "bench", 3, 5, bench_command },
};

// args[0] names the command; 2 for one that does not exist.
static int run_command(int count, char **args)
{
	struct btf *base = NULL;

	clear(&log_text);
	make_room();
	if (count >= 3 && !strcmp(args[count - 2], "--base")) {
		base = use(args[count - 1], NULL);
		if (!base)
			return failed_with(errno);
		count -= 2;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *command = &commands[i];

		if (!strcmp(args[0], command->name) && count - 1 >= command->fewest && count - 1 <= command->most)
			return command->run(count - 1, args + 1, base);
	}
	return 2;
}

static int run_batch(unsigned int seconds)
{
	char *line = NULL, **args = NULL;
	size_t room = 0;
	ssize_t length;

	batch = true;
	while ((length = getline(&line, &room, stdin)) > 0) {
		int count = 0, status;

		if (line[length - 1] == '\n')
			line[length - 1] = 0;
		args = must(realloc(args, (strlen(line) + 2) * sizeof(*args)));
		for (char *rest = line; rest;)
			args[count++] = strsep(&rest, "\t");
		alarm(seconds);
		status = run_command(count, args);
		alarm(0);
		if (status == 2) {
			fprintf(stderr, "btf_peer: wrong usage of %s\n", args[0]);
			return 2;
		}
		end_document();
	}
	free(args);
	free(line);
	return 0;
}

int main(int argc, char **argv)
{
	int status = 2;

	libbpf_set_print(log_line);
	if (argc >= 2 && argc <= 3 && !strcmp(argv[1], "batch"))
		status = run_batch(argc == 3 ? strtoul(argv[2], NULL, 10) : 60);
	else if (argc >= 2)
		status = run_command(argc - 1, argv + 1);
	if (status == 2)
		fputs("usage: see the head of bench/peers/btf_peer.c\n", stderr);
	forget();
	return status;
}
