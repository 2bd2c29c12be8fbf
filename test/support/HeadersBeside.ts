/**
 * C skeletons that embed their object, and subskeletons, ours and bpftool's: where each member of their structs is, as a
 * compiler says, and what programs that are written for bpftool's headers do with ours.
 */
import { assert } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as SkeletonC from "../../src/stages/gen/SkeletonC.ts"
import * as SubskeletonC from "../../src/stages/gen/SubskeletonC.ts"
import { newLibbpf, run, temporaryFolder, toolPath } from "./Require.ts"
import { typesOf } from "./SkeletonBeside.ts"

/** The commands of bpftool that make headers. */
export type Kind = "skeleton" | "subskeleton"

/** An object and our header of it. */
export interface Ours {
  readonly path: string
  readonly object: BpfObject
  readonly name: string
  readonly header: string
}

/** Our header of an object file, or why there is none. */
export const ours = (path: string, kind: Kind): Result.Result<Ours, Open.OpenFailure | SkeletonC.SkeletonError> => {
  const bytes = new Uint8Array(Fs.readFileSync(path))
  return Result.flatMap(Open.fromBytes(bytes, { path }), (object) => {
    const name = SkeletonC.nameOfFile(path)
    const header = kind === "skeleton"
      ? SkeletonC.make(object, bytes, { name })
      : SubskeletonC.make(object, { name })
    return Result.map(header, (header) => ({ path, object, name, header }))
  })
}

/** A file, and the object in it. */
export const opened = (path: string): { readonly bytes: Uint8Array; readonly object: BpfObject } => {
  const bytes = new Uint8Array(Fs.readFileSync(path))
  return { bytes, object: Result.getOrThrow(Open.fromBytes(bytes, { path })) }
}

/** bpftool's header of an object file, where it can make one. */
export const bpftools = (path: string, kind: Kind, bpftool: string): string | undefined => {
  const { status, stdout } = run(bpftool, ["gen", kind, path])
  return status === 0 && stdout.includes("#endif /* __") ? stdout : undefined
}

/** A member of a struct that a header declares: its path, from what a pointer at another path points to, if any. */
interface Member {
  readonly path: string
  readonly through: string | undefined
}

/** The members of the struct of a header, and of those in it and behind its pointers. */
export const membersOf = (header: string, name: string): ReadonlyArray<Member> => {
  const lines = header.slice(header.indexOf(`struct ${name} {\n`)).split("\n")
  /** The structs that are open: whether one is the header's own, and its members so far. */
  const open: Array<{ readonly own: boolean; readonly members: Array<Member> }> = []
  let isCxx = false
  for (const line of lines) {
    if (line.startsWith("#")) isCxx = line === "#ifdef __cplusplus"
    if (isCxx || line.startsWith("#")) continue
    const opened = /^(\t*)(?:__typeof__\()?(?:struct|union|enum)(?: (\w+))? \{$/.exec(line)
    if (opened !== null) {
      // Those without a name are the header's own where they group what it names, else a variable's type.
      const own = opened[2]?.startsWith(name) ?? (opened[1] === "\t" && open.length === 1)
      open.push({ own, members: [] })
      continue
    }
    const closed = /^\t*\}.*\) ()\*(\w+);$/.exec(line) ?? /^\t*\} \(()\*(\w+)\).*;$/.exec(line) ??
      /^\t*\}(?: __attribute__\S+)?(?: (\*?)(\w+)[^;]*)?;$/.exec(line)
    if (closed !== null) {
      const [, star, label] = closed
      const last = open.pop()
      const outer = open.at(-1)
      if (outer === undefined) return last?.members ?? []
      if (label === undefined || last === undefined) continue
      if (last.own) {
        for (const { path, through } of last.members) {
          if (through !== undefined) outer.members.push({ path, through: `${label}.${through}` })
          else if (star === "*") outer.members.push({ path, through: label })
          else outer.members.push({ path: `${label}.${path}`, through })
        }
      }
      if (outer.own) outer.members.push({ path: label, through: undefined })
      continue
    }
    const declared =
      /(?:\(\*+(?<pointer>\w+)(?:\[\w*\])*\)[([].*|\b(?<plain>\w+)(?:\[\w*\])*(?: __attribute__\(\(\w+\)\))?);$/.exec(
        line
      )
    const label = declared?.groups?.["pointer"] ?? declared?.groups?.["plain"]
    const top = open.at(-1)
    // A bit field has no place that C could name.
    if (top?.own === true && label !== undefined && !/ : \d+;$/.test(line)) {
      top.members.push({ path: label, through: undefined })
    }
  }
  return assert.fail("the struct has no end")
}

/** What the types of the fixtures need before them. */
const realHeaders = `#include <stddef.h>
#include <stdbool.h>
#include <linux/types.h>
#include <bpf/libbpf.h>
`

/** A program that prints where members are. */
const layoutProgram = (types: string, name: string, members: ReadonlyArray<Member>): string =>
  `${types}
#include "skeleton.h"
#ifdef __cplusplus
extern "C"
#endif
int printf(const char *, ...);
static const struct { const char *name; unsigned long offset, size; } members[] = {
${
    members.map(({ path, through }) => {
      const struct = through === undefined ? `struct ${name}` : `__typeof__(*((struct ${name} *)0)->${through})`
      const label = through === undefined ? path : `${through}->${path}`
      return `	{ "${label}", offsetof(${struct}, ${path}), sizeof(((${struct} *)0)->${path}) },\n`
    }).join("")
  }	{ "all", 0, sizeof(struct ${name}) },
};
int main(void)
{
	unsigned long i;

	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		printf("%s at %lu has %lu\\n", members[i].name, members[i].offset, members[i].size);
	return 0;
}
`

/** The types of an object's variables, beside libbpf's header. */
export const typesBesideLibbpf = (object: BpfObject): string =>
  typesOf(object).replace(/enum libbpf_tristate \{[^}]*\};\n/, "")

/** Which libbpf is compiled and linked with: Debian's 1.1, or 1.5. */
export type Libbpf = "1.1" | "1.5"

const flagsOf = (libbpf: Libbpf): { readonly compile: ReadonlyArray<string>; readonly link: ReadonlyArray<string> } =>
  libbpf === "1.1"
    ? { compile: [], link: ["-lbpf"] }
    : { compile: [`-I${newLibbpf}/include`], link: [`-L${newLibbpf}/lib64`, `-Wl,-rpath,${newLibbpf}/lib64`, "-lbpf"] }

/** Compiles a program with a header into a folder of its own; the path of the program, or what the compiler said. */
export const compile = (
  header: string,
  program: string,
  { language = "c", libbpf = "1.5" }: {
    readonly language?: "c" | "c++"
    readonly libbpf?: Libbpf
  } = {}
): Result.Result<string, string> => {
  const folder = Fs.mkdtempSync(Path.join(temporaryFolder(), "header-"))
  Fs.writeFileSync(Path.join(folder, "skeleton.h"), header)
  const source = language === "c" ? "main.c" : "main.cc"
  Fs.writeFileSync(Path.join(folder, source), program)
  const flags = flagsOf(libbpf)
  const clang = toolPath("clang") ?? "clang"
  const standard = language === "c" ? ["-std=gnu11"] : ["-std=gnu++17"]
  const built = run(
    clang,
    ["-Wall", "-Werror", "-O1", ...flags.compile, ...standard, "-o", "main", source, ...flags.link],
    { cwd: folder }
  )
  return built.status === 0 ? Result.succeed(Path.join(folder, "main")) : Result.fail(built.stderr)
}

/** What a program that was compiled with this header prints. */
export const printed = (header: string, program: string, options?: Parameters<typeof compile>[2]): string => {
  const main = compile(header, program, options)
  if (Result.isFailure(main)) return assert.fail(main.failure)
  const { stderr, stdout, status } = run(main.success, [])
  assert.strictEqual(status, 0, stdout + stderr)
  return stdout
}

/** Where the members of `members`, another header's, are in this header. */
export const layout = (
  { name, object }: Ours,
  header: string,
  members: string,
  options?: Parameters<typeof compile>[2]
): string =>
  printed(header, layoutProgram(realHeaders + typesBesideLibbpf(object), name, membersOf(members, name)), options)

/**
 * What a header needs of those that it includes, and nothing else: so that the kernel's types, which an object may have any
 * of, are defined beside it.
 */
const plainHeader = `#pragma once
#ifdef __cplusplus
#define NULL __null
#else
#define NULL ((void *)0)
#define bool _Bool
#endif
#define ENOMEM 12
#define LIBBPF_MAJOR_VERSION 1
#define LIBBPF_MINOR_VERSION 5
#define offsetof(type, member) __builtin_offsetof(type, member)
#ifdef __cplusplus
#define _Bool bool
extern "C" {
#endif
typedef __SIZE_TYPE__ size_t;
extern int errno;
void *calloc(size_t, size_t);
void free(void *);
struct bpf_object;
struct bpf_object_open_opts;
struct bpf_map;
struct bpf_program;
struct bpf_link;
struct bpf_map_skeleton { const char *name; struct bpf_map **map; void **mmaped; struct bpf_link **link; };
struct bpf_prog_skeleton { const char *name; struct bpf_program **prog; struct bpf_link **link; };
struct bpf_var_skeleton { const char *name; struct bpf_map **map; void **addr; };
struct bpf_object_skeleton {
	size_t sz; const char *name; const void *data; size_t data_sz; struct bpf_object **obj;
	int map_cnt, map_skel_sz; struct bpf_map_skeleton *maps;
	int prog_cnt, prog_skel_sz; struct bpf_prog_skeleton *progs;
};
struct bpf_object_subskeleton {
	size_t sz; const struct bpf_object *obj;
	int map_cnt, map_skel_sz; struct bpf_map_skeleton *maps;
	int prog_cnt, prog_skel_sz; struct bpf_prog_skeleton *progs;
	int var_cnt, var_skel_sz; struct bpf_var_skeleton *vars;
};
int bpf_object__open_skeleton(struct bpf_object_skeleton *, const struct bpf_object_open_opts *);
int bpf_object__load_skeleton(struct bpf_object_skeleton *);
int bpf_object__attach_skeleton(struct bpf_object_skeleton *);
void bpf_object__detach_skeleton(struct bpf_object_skeleton *);
void bpf_object__destroy_skeleton(struct bpf_object_skeleton *);
int bpf_object__open_subskeleton(struct bpf_object_subskeleton *);
void bpf_object__destroy_subskeleton(struct bpf_object_subskeleton *);
void *bpf_map__initial_value(const struct bpf_map *, size_t *);
int bpf_link__destroy(struct bpf_link *);
#ifdef __cplusplus
}
#endif
`

/** The flags of a compiler that finds the plain header for all that a header includes. */
const plainFlags = (): ReadonlyArray<string> => {
  const folder = Fs.mkdtempSync(Path.join(temporaryFolder(), "plain-"))
  Fs.mkdirSync(Path.join(folder, "bpf"))
  for (const name of ["errno.h", "stdbool.h", "stdlib.h", "stddef.h", "bpf/libbpf.h"]) {
    Fs.writeFileSync(Path.join(folder, name), `#include "${Path.join(folder, "plain.h")}"\n`)
  }
  Fs.writeFileSync(Path.join(folder, "plain.h"), plainHeader)
  return ["-nostdinc", `-I${folder}`]
}

/** What a compiler makes of a program with this header: its table of members above all, for nothing else is used. */
const assembled = (
  header: string,
  program: string,
  flags: ReadonlyArray<string>,
  language: "c" | "c++" = "c"
): Result.Result<string, string> => {
  const folder = Fs.mkdtempSync(Path.join(temporaryFolder(), "header-"))
  Fs.writeFileSync(Path.join(folder, "skeleton.h"), header)
  const source = language === "c" ? "main.c" : "main.cc"
  Fs.writeFileSync(Path.join(folder, source), program)
  const { status, stderr, stdout } = run(
    toolPath("clang") ?? "clang",
    ["-Wall", "-Werror", language === "c" ? "-std=gnu11" : "-std=gnu++17", ...flags, "-S", "-o", "-", source],
    { cwd: folder }
  )
  Fs.rmSync(folder, { recursive: true })
  return status === 0 ? Result.succeed(stdout) : Result.fail(stderr)
}

/** How an object's headers compare. */
export type Compared =
  /** Everything is in the same place; and whether ours compiles in C++. */
  | { readonly _tag: "Same"; readonly inCxx: boolean }
  /** Ours compiles; bpftool makes none, or one that does not compile. */
  | { readonly _tag: "Alone"; readonly inCxx: boolean }
  /** The object's own types do not compile without ours. */
  | { readonly _tag: "Types"; readonly detail: string }
  | { readonly _tag: "Different"; readonly detail: string }

/** Compares our header of any object with bpftool's, in C and, where the object's types are types of C++, in that. */
export const compare = ({ header, name, object, path }: Ours, kind: Kind, bpftool: string): Compared => {
  const theirs = bpftools(path, kind, bpftool)
  const flags = plainFlags()
  const types = typesOf(object)
  const program = (text: string): string => layoutProgram(types, name, membersOf(text, name))
  const judge = theirs === undefined ? undefined : assembled(theirs, program(theirs), flags)
  const judged = judge !== undefined && Result.isSuccess(judge) ? judge.success : undefined
  const asked = program(judged === undefined ? header : theirs ?? header)
  const isTyped = (language: "c" | "c++"): boolean =>
    Result.isSuccess(assembled("", `${types}\nint main(void) { return 0; }\n`, flags, language))
  const mine = assembled(header, asked, flags)
  if (Result.isFailure(mine)) return { _tag: isTyped("c") ? "Different" : "Types", detail: mine.failure }
  // Its own members, for some have other names in C++.
  const inCxx = assembled(header, program(header), flags, "c++")
  if (Result.isFailure(inCxx) && isTyped("c++")) return { _tag: "Different", detail: inCxx.failure }
  if (judged === undefined) return { _tag: "Alone", inCxx: Result.isSuccess(inCxx) }
  return mine.success === judged
    ? { _tag: "Same", inCxx: Result.isSuccess(inCxx) }
    : { _tag: "Different", detail: `ours\n${mine.success}\nbpftool's\n${judged}` }
}
