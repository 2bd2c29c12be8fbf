/** C skeletons and subskeletons beside bpftool's: see the full run for all fixtures and the corpus. */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Path from "node:path"
import * as SkeletonC from "../../src/stages/gen/SkeletonC.ts"
import * as SubskeletonC from "../../src/stages/gen/SubskeletonC.ts"
import { describeWith, newBpftool, newLibbpf, repository } from "../support/Require.ts"
import * as HeadersBeside from "../support/HeadersBeside.ts"

const path = (fixture: string): string => Path.join(repository, "test/fixtures", fixture)

const oracle = { kind: "oracle", tools: ["clang"], files: [newBpftool, newLibbpf] } as const

const fixtures = ["global_data.bpf.o", "externs.bpf.o", "arena_anywhere.bpf.o", "struct_ops_link.bpf.o"]

const beside = (file: string, kind: HeadersBeside.Kind) => {
  const ours = Result.getOrThrow(HeadersBeside.ours(path(file), kind))
  const theirs = HeadersBeside.bpftools(ours.path, kind, newBpftool) ?? assert.fail("bpftool makes none")
  return { ours, theirs, expected: HeadersBeside.layout(ours, theirs, theirs) }
}

describeWith(oracle, "a C skeleton", () => {
  it.each(fixtures)("%s has what bpftool's has, where it has it", (file) => {
    const { expected, ours, theirs } = beside(file, "skeleton")
    assert.match(expected, /maps\.\w+ at \d+ has 8\n/)
    for (const language of ["c", "c++"] as const) {
      assert.strictEqual(HeadersBeside.layout(ours, ours.header, theirs, { language }), expected, language)
    }
    assert.strictEqual(HeadersBeside.layout(ours, ours.header, theirs, { libbpf: "1.1" }), expected)
  })

  it("named fault: padding of another length is seen, by the compiler first", () => {
    const { expected, ours, theirs } = beside("global_data.bpf.o", "skeleton")
    const bent = ours.header.replace(/(?<=\t\tchar __pad0)\[4\](?=;\n\t\tchar buffer)/, "[8]")
    assert.notStrictEqual(bent, ours.header)
    assert.throws(() => HeadersBeside.layout(ours, bent, theirs), /unexpected place of 'buffer'/)
    const unasserted = bent.replaceAll(/^.*unexpected place of .*\n/gm, "")
    assert.notStrictEqual(HeadersBeside.layout(ours, unasserted, theirs), expected)
  })
})

describeWith(oracle, "a C subskeleton", () => {
  it.each(["global_data.bpf.o", "externs.bpf.o", "struct_ops_link.bpf.o"])("%s has what bpftool's has", (file) => {
    const { expected, ours, theirs } = beside(file, "subskeleton")
    assert.match(expected, /maps\.\w+ at \d+ has 8\n/)
    for (const language of ["c", "c++"] as const) {
      assert.strictEqual(HeadersBeside.layout(ours, ours.header, theirs, { language }), expected, language)
    }
    assert.strictEqual(HeadersBeside.layout(ours, ours.header, theirs, { libbpf: "1.1" }), expected)
  })
})

/** What is in the names fixture before it is loaded, through the struct of its skeleton. */
const values = (isCxx: boolean): string => {
  const word = (text: string): string => isCxx ? `${text}_` : text
  return `#include <stdio.h>
#include <linux/types.h>
struct tail { __u32 length; __u32 elements[]; };
#include "skeleton.h"
int main(void)
{
	struct skeleton_names_bpf *skel = skeleton_names_bpf__open();

	if (!skel)
		return 1;
	printf("%u %u %u %u %u %u %d\\n", skel->data->flexible.length, skel->data->flexible.elements[2],
	       skel->data->behind_flexible, skel->data->${word("private")}, skel->data->bool_, skel->data->errno_,
	       skel->data->size == 70000);
	printf("%u %u %u\\n", skel->data_a_b->dotted, skel->data_a_b_->underscored,
	       skel->bss_with_a_long_name->in_a_long_section);
	printf("%s %s %s %s\\n", bpf_map__name(skel->maps.${isCxx ? "class__" : "class"}), bpf_map__name(skel->maps.class_),
	       bpf_map__name(skel->maps.maps), bpf_map__name(skel->maps.rodata));
	printf("%s\\n", bpf_program__name(skel->progs.${word("new")}));
	if (skel->struct_ops.shapes)
		printf("%d %u %u %u %llx %c %d %llu\\n", skel->struct_ops.shapes->first == skel->progs.first_function,
		       skel->struct_ops.shapes->low, skel->struct_ops.shapes->high, skel->struct_ops.shapes->far,
		       (unsigned long long)skel->struct_ops.shapes->wide, skel->struct_ops.shapes->letter,
		       skel->struct_ops.shapes->which == 1, skel->struct_ops.shapes->last);
	if (skel->struct_ops.packed)
		printf("%c %d %u\\n", skel->struct_ops.packed->letter, *(int *)&skel->struct_ops.packed->__unsupported_1,
		       skel->struct_ops.packed->bits);
	skeleton_names_bpf__destroy(skel);
	return 0;
}
`
}

describeWith(oracle, "a C skeleton of names that are hard to write", () => {
  const { header } = Result.getOrThrow(HeadersBeside.ours(path("skeletons/skeleton_names.bpf.o"), "skeleton"))

  it.each(["c", "c++"] as const)("has everything where the object has it, in %s", (language) => {
    const printed = HeadersBeside.printed(header, values(language === "c++"), { language })
    assert.deepStrictEqual(printed.trim().split("\n"), [
      "3 3 4 5 6 7 1",
      "8 9 0",
      "class class_ maps rodata",
      "new",
      "1 5 17 100 1234567890 a 1 7",
      "b 8 9"
    ])
  })

  it("compiles, whatever maps and programs are called", () => {
    const { bytes, object } = HeadersBeside.opened(path("skeletons/skeleton_names.bpf.o"))
    const hostile = [
      "\" evil \"",
      "*/ int evil; /*",
      "line\nbreak\r",
      "back\\slash\\",
      "??/",
      "int",
      "\u00e9t\u00e9",
      "a b",
      "7",
      "#if"
    ]
    const renamed = {
      ...object,
      maps: object.maps.map((map, at) => ({ ...map, name: hostile[at] ?? map.name })),
      programs: object.programs.map((program, at) => ({ ...program, name: hostile[at] ?? program.name }))
    }
    const program = `struct tail { unsigned int length; unsigned int elements[]; };
#include <linux/types.h>
#include "skeleton.h"
int main(void) { return 0; }
`
    for (
      const header of [
        Result.getOrThrow(SkeletonC.make(renamed, bytes, { name: "judged" })),
        Result.getOrThrow(SubskeletonC.make(renamed, { name: "judged" }))
      ]
    ) {
      for (const language of ["c", "c++"] as const) {
        const compiled = HeadersBeside.compile(header, program, { language })
        assert.isTrue(Result.isSuccess(compiled), Result.isFailure(compiled) ? compiled.failure : "")
      }
    }
  })

  it("no program of C finds out that a subskeleton's pointers to arrays are any different", () => {
    const { header, object } = Result.getOrThrow(
      HeadersBeside.ours(path("skeletons/skeleton_names.bpf.o"), "subskeleton")
    )
    const program = (language: "c" | "c++"): string =>
      `${HeadersBeside.typesBesideLibbpf(object)}
#include <linux/types.h>
struct tail;
#include "skeleton.h"
int main(void)
{
	struct skeleton_names_bpf subskeleton;
	int (**array)[3] = subskeleton.bss.pointer_to_array;
	int (**function)(int, void *) = subskeleton.bss.callback;
	__u16 *number = subskeleton.data.${language === "c" ? "private" : "private_"};

	return sizeof(array) + sizeof(function) + sizeof(number) == 24 ? 0 : 1;
}
`
    for (const language of ["c", "c++"] as const) {
      const compiled = HeadersBeside.compile(header, program(language), { language })
      assert.isTrue(Result.isSuccess(compiled), Result.isFailure(compiled) ? compiled.failure : "")
    }
  })
})
