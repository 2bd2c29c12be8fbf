/**
 * C skeletons and subskeletons at work: programs in C, written for bpftool's headers, open, set, load, attach and run with
 * ours, over libbpf 1.1 and 1.5, and print what they print with bpftool's.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Linker from "../../src/linker/Linker.ts"
import * as HeadersBeside from "../support/HeadersBeside.ts"
import { describeWith, fixture, newBpftool, newLibbpf, repository, temporaryFolder } from "../support/Require.ts"

const path = (name: string): string => Path.join(repository, "test/fixtures", name)

const includes = `#include <stdio.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <linux/types.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
`

const run = `
static int run(const struct bpf_program *program, void *data, unsigned int size)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = data, .data_size_in = size, .repeat = data ? 1 : 0);

	if (bpf_prog_test_run_opts(bpf_program__fd(program), &opts))
		return -1;
	return (int)opts.retval;
}
`

const frame = "unsigned char frame[64] = { [12] = 8, [14] = 0x45 };"

/** What a program prints with our header and with bpftool's. */
const beside = (
  name: string,
  main: string,
  { header, theirs }: { readonly header: string; readonly theirs: string },
  libbpf: HeadersBeside.Libbpf
): readonly [string, string] => {
  const program = `${includes}${main}`
  assert.include(main, name)
  return [HeadersBeside.printed(header, program, { libbpf }), HeadersBeside.printed(theirs, program, { libbpf })]
}

const skeletonOf = (file: string) => {
  const ours = Result.getOrThrow(HeadersBeside.ours(path(file), "skeleton"))
  const theirs = HeadersBeside.bpftools(ours.path, "skeleton", newBpftool) ?? assert.fail("bpftool makes none")
  return { ...ours, theirs, types: HeadersBeside.typesBesideLibbpf(ours.object) }
}

const globals = (types: string): string =>
  `${types}
#include "skeleton.h"
${run}
int main(void)
{
	struct global_data_bpf *skel = global_data_bpf__open();
	${frame}
	int number;

	if (!skel)
		return 1;
	skel->rodata->limit = 1000;
	skel->data->answer = 7;
	skel->data_custom->custom_data = 100;
	strcpy(skel->rodata->greeting, "changed");
	printf("opened: %d programs, %s\\n", skel->skeleton->prog_cnt, bpf_program__name(skel->progs.read_all));
	if (global_data_bpf__load(skel))
		return 2;
	for (number = 0; number < 3; number++)
		if (run(skel->progs.read_all, frame, sizeof(frame)) < 0)
			return 3;
	printf("ran: %lld %lld %llu %c %d\\n", (long long)skel->bss->sum, (long long)skel->bss->difference,
	       (unsigned long long)skel->bss->counter, skel->bss->buffer[0], skel->bss->seen_position.x);
	global_data_bpf__destroy(skel);
	return 0;
}
`

const kconfig = (types: string): string =>
  `${types}
#include "skeleton.h"
${run}
int main(void)
{
	struct externs_bpf *skel = externs_bpf__open();

	if (!skel)
		return 1;
	printf("before: %d\\n", skel->kconfig == NULL);
	if (externs_bpf__load(skel))
		return 2;
	printf("hertz: %u, version: %u, not known: %llu\\n", skel->kconfig->CONFIG_HZ, skel->kconfig->LINUX_KERNEL_VERSION,
	       (unsigned long long)skel->kconfig->LINUX_NOT_KNOWN_YET);
	printf("ran: %d\\n", run(skel->progs.copy_configuration, NULL, 0));
	printf("copied: %u\\n", skel->bss->kernel_version);
	externs_bpf__destroy(skel);
	return 0;
}
`

const attached = (types: string): string =>
  `${types}
#include "skeleton.h"
int main(void)
{
	struct tracepoint_bpf *skel = tracepoint_bpf__open_and_load();

	if (!skel)
		return 1;
	printf("loaded: %d %d\\n", bpf_program__fd(skel->progs.count_getpid) > 0,
	       bpf_program__fd(skel->progs.count_getppid) > 0);
	skel->bss->only_process = getpid();
	printf("attached: %d\\n", tracepoint_bpf__attach(skel));
	printf("links: %d %d %d %d\\n", !!skel->links.count_getpid, !!skel->links.count_any_call,
	       !!skel->links.keep_first_bytes, !!skel->links.count_getppid);
	tracepoint_bpf__detach(skel);
	printf("left: %d %d\\n", !!skel->links.count_getpid, !!skel->links.count_any_call);
	tracepoint_bpf__destroy(skel);
	return 0;
}
`

const registered = (types: string): string =>
  `${types}
#include "skeleton.h"
int main(void)
{
	struct struct_ops_link_bpf *skel = struct_ops_link_bpf__open();
	FILE *file;
	char list[4096] = "";

	if (!skel)
		return 1;
	printf("shadow: %d\\n", skel->struct_ops.linked->ssthresh == skel->progs.threshold);
	skel->struct_ops.linked->cong_avoid = skel->progs.avoid;
	bpf_map__set_autocreate(skel->maps.optional, false);
	if (struct_ops_link_bpf__load(skel))
		return 2;
	printf("attached: %d\\n", struct_ops_link_bpf__attach(skel));
	printf("links: %d %d\\n", !!skel->links.linked, !!skel->links.optional);
	file = fopen("/proc/sys/net/ipv4/tcp_available_congestion_control", "r");
	if (file && fgets(list, sizeof(list), file))
		printf("registered: %d\\n", !!strstr(list, "effect_linked"));
	if (file)
		fclose(file);
#ifndef BPF_SKEL_SUPPORTS_MAP_AUTO_ATTACH
#error structs of functions attach by themselves since libbpf 1.5
#endif
	struct_ops_link_bpf__destroy(skel);
	return 0;
}
`

const arena = (types: string): string =>
  `${types}
#include "skeleton.h"
${run}
int main(void)
{
	struct arena_bpf *skel = arena_bpf__open();

	if (!skel)
		return 1;
	skel->arena->shared_table[0] = 100;
	if (arena_bpf__load(skel))
		return 2;
	skel->arena->shared_counter += 10;
	printf("ran: %d\\n", run(skel->progs.use_arena, NULL, 0));
	printf("arena: %llu %llu\\n", (unsigned long long)skel->arena->shared_counter,
	       (unsigned long long)skel->arena->list_head->value);
	arena_bpf__destroy(skel);
	return 0;
}
`

const cases: ReadonlyArray<
  readonly [file: string, main: (types: string) => string, libbpf: HeadersBeside.Libbpf, expected: RegExp]
> = [
  ["global_data.bpf.o", globals, "1.1", /^opened: 1 programs, read_all\nran: -?\d+ -?\d+ 3 c -?\d+\n$/],
  [
    "externs.bpf.o",
    kconfig,
    "1.5",
    /^before: 1\nhertz: [1-9]\d*, version: [1-9]\d*, not known: \d+\nran: \d+\ncopied: [1-9]/
  ],
  ["tracepoint.bpf.o", attached, "1.1", /^loaded: 1 0\nattached: 0\nlinks: 1 1 0 0\nleft: 0 0\n$/],
  ["struct_ops_link.bpf.o", registered, "1.5", /^shadow: 1\nattached: 0\nlinks: 1 0\nregistered: 1\n$/],
  ["arena.bpf.o", arena, "1.5", /^ran: 0\narena: 16 105\n$/]
]

describeWith(
  { kind: "live", root: true, tools: ["clang"], files: [newBpftool, newLibbpf] },
  "C skeletons at work",
  () => {
    it.each(cases)("%s does what it does with bpftool's header", (file, main, libbpf, expected) => {
      const skeleton = skeletonOf(file)
      const [ours, theirs] = beside(skeleton.name, main(skeleton.types), skeleton, libbpf)
      assert.match(ours, expected)
      assert.strictEqual(ours, theirs)
    })

    it("an object that is opened under another name is found by its skeleton", () => {
      const { header, name } = skeletonOf("tracepoint.bpf.o")
      const program = `${includes}
#include "skeleton.h"
int main(void)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "other");
	struct ${name} *skel = ${name}__open_opts(&opts);

	puts(skel ? bpf_map__name(skel->maps.bss) : "not found");
	${name}__destroy(skel);
	return 0;
}
`
      for (const libbpf of ["1.1", "1.5"] as const) {
        assert.strictEqual(HeadersBeside.printed(header, program, { libbpf }), "other.bss\n")
      }
    })

    it("a library that was linked into an object is found by its subskeleton", () => {
      const folder = Fs.mkdtempSync(Path.join(temporaryFolder(), "linked-"))
      const parts = ["link_main.bpf.o", "link_library.bpf.o"]
      const linked = Result.getOrThrow(Linker.link(parts.map((name) => ({ name, bytes: fixture(name) }))))
      const app = Path.join(folder, "app.bpf.o")
      Fs.writeFileSync(app, linked.bytes)
      const skeleton = Result.getOrThrow(HeadersBeside.ours(app, "skeleton"))
      const library = Result.getOrThrow(HeadersBeside.ours(path("link_library.bpf.o"), "subskeleton"))
      const theirs = {
        skeleton: HeadersBeside.bpftools(app, "skeleton", newBpftool),
        library: HeadersBeside.bpftools(library.path, "subskeleton", newBpftool)
      }
      const main = `${includes}
#include "skeleton.h"
${run}
int main(void)
{
	struct app_bpf *skel = app_bpf__open();
	struct link_library_bpf *library = skel ? link_library_bpf__open(skel->obj) : NULL;
	${frame}
	int number;

	if (!library)
		return 1;
	*library->rodata.library_limit = 2;
	*library->bss.library_calls = 0;
	printf("opened: %s %s %d\\n", bpf_map__name(library->maps.library_map),
	       bpf_program__name(library->progs.library_program),
	       library->bss.library_calls == &skel->bss->library_calls);
	if (app_bpf__load(skel))
		return 2;
	for (number = 0; number < 3; number++)
		printf("ran: %d\\n", run(skel->progs.main_program, frame, sizeof(frame)));
	printf("calls: %llu\\n", (unsigned long long)*library->bss.library_calls);
	link_library_bpf__destroy(library);
	app_bpf__destroy(skel);
	return 0;
}
`
      for (const libbpf of ["1.1", "1.5"] as const) {
        const ours = HeadersBeside.printed(`${skeleton.header}\n${library.header}`, main, { libbpf })
        assert.strictEqual(ours, "opened: library_map library_program 1\nran: 1\nran: 1\nran: 0\ncalls: 3\n")
        assert.strictEqual(ours, HeadersBeside.printed(`${theirs.skeleton}\n${theirs.library}`, main, { libbpf }))
      }
    })
  }
)
