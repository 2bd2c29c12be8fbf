/** C light skeletons, ours and bpftool's, compiled into a program that loads an object and prints what the kernel says of it. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as BtfDump from "../../src/btf/BtfDump.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Variables from "../../src/stages/open/Variables.ts"
import * as LightSkeletonC from "../../src/stages/gen/LightSkeletonC.ts"
import * as LoaderInputs from "../../src/stages/gen/LoaderInputs.ts"
import * as Layout from "../../src/stages/gen/LoaderLayout.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import type { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as CText from "../../src/stages/gen/skeleton/CText.ts"
import { recordObject } from "./LoadersBeside.ts"
import { fixture, repository, run, temporaryFolder, toolPath } from "./Require.ts"

/** A fixture, its loader, and the name of its skeleton. */
export interface Skeleton {
  readonly object: BpfObject
  readonly loader: LoaderProgram
  readonly name: string
  readonly header: string
  /** What the running kernel's configuration says, where the object asks for it. */
  readonly kconfig: Uint8Array | undefined
  /** What our loader is told of the machine in words of its own, by their places among these. */
  readonly words: ReadonlyMap<number, number>
}

/** Our header of a fixture; fails where no loader can be made of it. */
export const ours = Effect.fnUntraced(function*(file: string): Effect.fn.Return<Skeleton, unknown, Kernel> {
  const object = yield* Effect.fromResult(Open.fromBytes(fixture(file), { path: file }))
  const loader = yield* recordObject(object)
  const name = LightSkeletonC.nameOfFile(file)
  const header = yield* Effect.fromResult(LightSkeletonC.make(object, loader, { name }))
  const filled = yield* Effect.option(LoaderInputs.ask(loader))
  const kconfig = filled._tag === "None"
    ? undefined
    : [...filled.value.maps.values()].find(({ initialValue }) => initialValue !== undefined)?.initialValue
  const first = Layout.contextInputs(loader.maps.length, loader.programs.length)
  const told = filled._tag === "None" ? [] : [...filled.value.words]
  const words = new Map(told.map(([at, word]) => [(at - first) / 4, word]))
  return { object, loader, name, header, kconfig, words }
})

/** bpftool's header of a fixture, where it can make one. */
export const bpftools = (file: string, bpftool: string): string | undefined => {
  const { status, stdout } = run(bpftool, ["gen", "skeleton", "-L", Path.join(repository, "test/fixtures", file)])
  return status === 0 && stdout.includes("#endif") ? stdout : undefined
}

/** The types of an object's variables, as a user of its skeleton would include them. */
export const typesOf = ({ btf, ...object }: BpfObject): string => {
  if (btf === undefined) return ""
  const dumper = BtfDump.makeDumper(btf)
  return Variables.variables({ ...object, btf }).filter((each) => each.global).map(({ type }) =>
    Result.getOrThrow(BtfDump.dumpType(dumper, type)).text
  ).join("")
}

/** A program that loads the skeleton and prints its maps, their contents and its programs, by position. */
const program = ({ kconfig, name, words }: Skeleton, header: string): string => {
  /** The members of a struct of the header. */
  const membersOf = (kind: "map" | "prog"): ReadonlyArray<string> =>
    [...header.matchAll(new RegExp(`struct bpf_${kind}_desc (\\w+);`, "g"))].map(([, member]) => member ?? "")
  const maps = membersOf("map")
  return `#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <dirent.h>
#include <sys/mman.h>
#include <linux/types.h>
#include "types.h"
#include "skeleton.h"

static int descriptors(void)
{
	int count = 0;
	DIR *folder = opendir("/proc/self/fd");

	if (!folder)
		return -1;
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

__attribute__((unused)) static void info(int fd, void *into, __u32 size)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	memset(into, 0, size);
	attr.info.bpf_fd = (__u32)fd;
	attr.info.info_len = size;
	attr.info.info = (__u64)(long)into;
	skel_sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
}

__attribute__((unused)) static void map(int fd)
{
	struct bpf_map_info map;
	unsigned char value[65536];
	unsigned int key = 0, i;
	union bpf_attr attr;

	if (fd <= 0) {
		puts("map none");
		return;
	}
	info(fd, &map, sizeof(map));
	printf("map type %u key %u value %u entries %u types %d", map.type, map.key_size, map.value_size,
	       map.max_entries, map.btf_id != 0);
	if (map.type == BPF_MAP_TYPE_ARRAY && map.max_entries == 1 && map.value_size <= sizeof(value)) {
		memset(&attr, 0, sizeof(attr));
		attr.map_fd = (__u32)fd;
		attr.key = (__u64)(long)&key;
		attr.value = (__u64)(long)value;
		if (skel_sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) == 0) {
			printf(" ");
			for (i = 0; i < map.value_size; i++)
				printf("%02x", value[i]);
		}
	}
	puts("");
}

__attribute__((unused)) static void prog(int fd)
{
	struct bpf_prog_info prog;

	if (fd <= 0) {
		puts("program none");
		return;
	}
	info(fd, &prog, sizeof(prog));
	printf("program type %u name %s bytes %u maps %u functions %u lines %u\\n", prog.type, prog.name,
	       prog.xlated_prog_len, prog.nr_map_ids, prog.nr_func_info, prog.nr_line_info);
}

int main(void)
{
	struct ${name} *skel;
	int before, err;

	before = descriptors();
	skel = ${name}__open();
	if (!skel) {
		puts("cannot open");
		return 1;
	}
${
    kconfig === undefined
      ? ""
      : `	memcpy((void *)skel->kconfig, "${CText.escaped(kconfig)}", ${kconfig.length});\n`
  }${
    header.includes("} inputs;")
      ? [...words].map(([at, word]) => `	((__u32 *)&skel->inputs)[${at}] = ${word};\n`).join("")
      : ""
  }	err = ${name}__load(skel);
	if (err) {
		printf("cannot load: %d\\n", err);
		return 1;
	}
${maps.map((map) => `	map(skel->maps.${map}.map_fd);\n`).join("")}${
    membersOf("prog").map((prog) => `	prog(skel->progs.${prog}.prog_fd);\n`).join("")
  }	err = ${name}__attach(skel);
	printf("attached %d\\n", err);
	${name}__detach(skel);
	${name}__destroy(skel);
	printf("left open %d\\n", descriptors() - before);
	return 0;
}
`
}

/** Compiles a header in a program of its own, in this language, and runs that; what it printed. */
export const compiled = (skeleton: Skeleton, header: string, language: "c" | "c++" = "c"): string => {
  const folder = Fs.mkdtempSync(Path.join(temporaryFolder(), "skeleton-"))
  Fs.writeFileSync(Path.join(folder, "types.h"), typesOf(skeleton.object))
  Fs.writeFileSync(Path.join(folder, "skeleton.h"), header)
  Fs.writeFileSync(Path.join(folder, "main.c"), program(skeleton, header))
  const clang = toolPath("clang") ?? "clang"
  const flags = language === "c" ? ["-x", "c", "-std=gnu11"] : ["-x", "c++", "-std=gnu++17", "-Wno-deprecated"]
  const built = run(clang, ["-Wall", "-Wextra", "-Werror", "-O1", ...flags, "-o", "main", "main.c"], { cwd: folder })
  assert.strictEqual(built.status, 0, built.stderr)
  const { status, stdout } = run(Path.join(folder, "main"), [], { cwd: folder })
  // A kernel that refuses the object is for the test to judge.
  if (!stdout.startsWith("cannot load")) assert.strictEqual(status, 0, stdout)
  return stdout
}
