/**
 * Light skeletons in C: a header with the loader program of an object, and functions that open, load, attach and destroy it.
 * It needs no libbpf, only the header `bpf/skel_internal.h`.
 *
 * Names, structs and the meaning of the functions are those of `bpftool gen skeleton -L`, so that code that was written for
 * one header compiles with the other. Differences: the size of mappings is computed from the page size of the machine that
 * it runs on; sizes that depend on that and on the number of CPUs are filled in before the load; descriptors of programs
 * that are not loaded stay 0 in their own place; identifiers that C or C++ keeps for itself get an underscore.
 *
 * Types of variables are only named, as in bpftool's: whoever includes the header includes theirs first. `types` has the
 * definitions instead.
 *
 * Source: reference pages `gen-loader`, section 12, and `skeleton`, section 2; libbpf's `skel_internal.h`.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import { sha256 } from "../../internal/Sha256.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import * as Layout from "./LoaderLayout.ts"
import type { LoaderProgram } from "./LoaderProgram.ts"
import { requireName } from "./skeleton/CHeader.ts"
import { type Header, linkNames, structText, typesText } from "./skeleton/CStruct.ts"
import * as CText from "./skeleton/CText.ts"
import { get, isSkeletonError, shapeOf, SkeletonError, type SkeletonProgram } from "./skeleton/SkeletonShape.ts"

export { nameOfFile, SkeletonError } from "./skeleton/SkeletonShape.ts"

/** What a header is to be like. */
export interface SkeletonOptions {
  /** What all names begin with; `nameOfFile` has the one that bpftool would take. */
  readonly name: string
  /** Whether the types of the variables are defined in the header; default: it only names them. */
  readonly types?: boolean
}

/** The expression that attaches a program, of its descriptor `prog_fd`. */
const attachExpression = ({ attach }: SkeletonProgram): string => {
  switch (attach._tag) {
    case "RawTracepoint":
      return `skel_raw_tracepoint_open(${CText.literal(attach.name)}, prog_fd)`
    case "Tracing":
      return "skel_raw_tracepoint_open(NULL, prog_fd)"
    case "Iter":
      return "skel_link_create(prog_fd, 0, BPF_TRACE_ITER)"
    case "None":
      return "0 /* how to attach it is for the user to say */"
  }
}

const attachText = ({ shape }: Header): string => {
  const { maps, name, programs } = shape
  const one = (identifier: string, kind: string, field: string, expression: string): string => `
static inline int
${name}__${identifier}__attach(struct ${name} *skel)
{
	int ${field} = skel->${kind}.${identifier}.${field};
	int fd;

	if (${field} <= 0)
		return 0;
	fd = ${expression};
	if (fd > 0)
		skel->links.${identifier}_fd = fd;
	return fd;
}
`
  const structs = maps.filter(({ structOpsLink }) => structOpsLink)
  const all = [...programs, ...structs].map(({ identifier }) => identifier)
  return `${
    programs.map((program) => one(program.identifier, "progs", "prog_fd", attachExpression(program))).join("")
  }${
    structs.map(({ identifier }) =>
      one(identifier, "maps", "map_fd", "skel_link_create(map_fd, 0, (enum bpf_attach_type)44 /* BPF_STRUCT_OPS */)")
    ).join("")
  }
static inline int
${name}__attach(struct ${name} *skel)
{
	int ret = 0;

	(void)skel;
${
    all.map((identifier) => `	if (ret >= 0)\n		ret = ${name}__${identifier}__attach(skel);\n`).join("")
  }	return ret < 0 ? ret : 0;
}

static inline void
${name}__detach(struct ${name} *skel)
{
	(void)skel;
${linkNames(shape).map((link) => `	skel_closenz(skel->links.${link});\n	skel->links.${link} = 0;\n`).join("")}}
`
}

const destroyText = ({ shape }: Header): string => {
  const { maps, name, programs, sections } = shape
  const mapped = new Map(sections.map((section) => [section.map, section]))
  return `
static inline void
${name}__destroy(struct ${name} *skel)
{
	if (!skel)
		return;
	${name}__detach(skel);
${programs.map(({ identifier }) => `	skel_closenz(skel->progs.${identifier}.prog_fd);\n`).join("")}${
    maps.map(({ identifier }, number) => {
      const section = mapped.get(number)
      const unmap = section === undefined
        ? ""
        : `	if (skel->${identifier})\n		skel_free_map_data(skel->${identifier}, skel->maps.${identifier}.initial_value,\n` +
          `				   ${name}__mmap_size(${section.image.length}));\n`
      return `${unmap}	skel_closenz(skel->maps.${identifier}.map_fd);\n`
    }).join("")
  }	skel_free(skel);
}
`
}

const openText = ({ loader, shape }: Header): string => {
  const { name, sections } = shape
  return `
static inline struct ${name} *
${name}__open(void)
{
	struct ${name} *skel;

	skel = (struct ${name} *)skel_alloc(sizeof(*skel));
	if (!skel)
		return NULL;
	skel->ctx.sz = ${loader.contextSize};
${
    sections.map(({ identifier, image }) =>
      `	{
		static const char data[] __attribute__((__aligned__(8))) = "\\
${CText.escaped(image)}";

		skel->${identifier} = (__typeof__(skel->${identifier}))skel_prep_map_data((void *)data,
						${name}__mmap_size(sizeof(data) - 1), sizeof(data) - 1);
		if (!skel->${identifier})
			goto cleanup;
		skel->maps.${identifier}.initial_value = (__u64)(long)skel->${identifier};
	}
`
    ).join("")
  }	return skel;
${sections.length === 0 ? "" : `cleanup:\n	${name}__destroy(skel);\n	return NULL;\n`}}
`
}

/** Fills in what the machine says, as far as the user has not. */
const inputsText = ({ loader, shape }: Header): string => {
  const words = shape.words.map(({ identifier }) => `skel->inputs.${identifier}`)
  let word = 0
  return loader.inputs.map((input) => {
    const place = (): string => {
      if ("template" in input && !input.template) {
        return `skel->maps.${shape.maps[input.map]?.identifier ?? ""}.max_entries`
      }
      return words[word++] ?? ""
    }
    switch (input._tag) {
      case "PossibleCpus": {
        const at = place()
        return `	if (!${at})\n		${at} = ${shape.name}__cpus();\n`
      }
      case "RingSize": {
        const at = place()
        return `	if (!${at})\n		${at} = ${shape.name}__ring_size(${input.bytes});\n`
      }
      case "Program":
        word += 2
        return ""
      case "StructSize":
      case "Member":
        word++
        return ""
      case "Kconfig":
        return ""
    }
  }).join("")
}

const loadText = (header: Header): string => {
  const { loader, shape } = header
  const { name, sections } = shape
  const { data, insns, signed } = loader
  const bytes = (identifier: string, value: Uint8Array): string =>
    `	static const char ${identifier}[] __attribute__((__aligned__(8))) = "\\\n${CText.escaped(value)}";\n`
  const signature = signed?.signature
  return `
static inline int
${name}__load(struct ${name} *skel)
{
	struct bpf_load_and_run_opts opts;
	int err;
${bytes("opts_data", data)}${bytes("opts_insn", insns)}${
    signature === undefined ? "" : bytes("opts_sig", signature) + bytes("opts_excl_hash", sha256(insns))
  }
	memset(&opts, 0, sizeof(opts));
${inputsText(header)}	opts.ctx = (struct bpf_loader_ctx *)skel;
	opts.data_sz = sizeof(opts_data) - 1;
	opts.data = (void *)opts_data;
	opts.insns_sz = sizeof(opts_insn) - 1;
	opts.insns = (void *)opts_insn;
${
    signature === undefined ? "" : `	opts.signature = (void *)opts_sig;
	opts.signature_sz = sizeof(opts_sig) - 1;
	opts.excl_prog_hash = (void *)opts_excl_hash;
	opts.excl_prog_hash_sz = sizeof(opts_excl_hash) - 1;
	opts.keyring_id = skel->keyring_id;
`
  }
	err = bpf_load_and_run(&opts);
	if (err < 0)
		return err;
${
    sections.map(({ identifier, image, readOnly }) =>
      `	skel->${identifier} = (__typeof__(skel->${identifier}))skel_finalize_map_data(
		&skel->maps.${identifier}.initial_value, ${name}__mmap_size(${image.length}),
		${readOnly ? "PROT_READ" : "PROT_READ | PROT_WRITE"}, skel->maps.${identifier}.map_fd);
	if (!skel->${identifier})
		return -ENOMEM;
`
    ).join("")
  }	return 0;
}

static inline struct ${name} *
${name}__open_and_load(void)
{
	struct ${name} *skel;

	skel = ${name}__open();
	if (!skel)
		return NULL;
	if (${name}__load(skel)) {
		${name}__destroy(skel);
		return NULL;
	}
	return skel;
}
`
}

/** Constants and sizes that depend on the machine. */
const helpersText = ({ loader, shape }: Header): string => {
  const { name, sections } = shape
  const sizes = sections.length === 0 ? "" : `
/* How much of a map's memory is mapped: whole pages of the machine. */
static inline size_t
${name}__mmap_size(size_t size)
{
#ifdef __KERNEL__
	size_t page = PAGE_SIZE;
#else
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
#endif

	return (size + page - 1) / page * page;
}
`
  const cpus = !loader.inputs.some(({ _tag }) => _tag === "PossibleCpus") ? "" : `
static inline __u32
${name}__cpus(void)
{
#ifdef __KERNEL__
	return num_possible_cpus();
#else
	return (__u32)sysconf(_SC_NPROCESSORS_CONF);
#endif
}
`
  const rings = !loader.inputs.some(({ _tag }) => _tag === "RingSize") ? "" : `
/* The page size times the smallest power of two that has room for so many bytes. */
static inline __u32
${name}__ring_size(__u32 bytes)
{
#ifdef __KERNEL__
	__u64 size = PAGE_SIZE;
#else
	__u64 size = (__u64)sysconf(_SC_PAGESIZE);
#endif

	while (size < bytes)
		size *= 2;
	return (__u32)size;
}
`
  return sizes + cpus + rings
}

const assertText = ({ shape }: Header): string => {
  const { name, sections } = shape
  const asserts = sections.flatMap(({ identifier: section, variables }) =>
    variables.map(({ identifier, offset, size }) =>
      `	_Static_assert(sizeof(s->${section}->${identifier}) == ${size}, ` +
      `"unexpected size of '${identifier}'");\n` +
      `	_Static_assert(offsetof(__typeof__(*s->${section}), ${identifier}) == ${offset}, ` +
      `"unexpected place of '${identifier}'");\n`
    )
  )
  return `
__attribute__((unused)) static inline void
${name}__assert(struct ${name} *s __attribute__((unused)))
{
#ifdef __cplusplus
#define _Static_assert static_assert
#endif
${asserts.join("")}#ifdef __cplusplus
#undef _Static_assert
#endif
}
`
}

/** Values of the kernel's configuration that a program reads, which the user of the header looks up. */
const kconfigText = ({ loader, shape }: Header): string =>
  loader.inputs.flatMap((input) => {
    if (input._tag !== "Kconfig") return []
    const section = shape.sections.find(({ map }) => map === input.map)
    return [
      ` *\n * Set these to the values of the running kernel before the load, in skel->${
        section?.identifier ?? ".kconfig"
      }:\n` +
      input.values.map(({ name }) => ` *   ${CText.comment(name)}\n`).join("")
    ]
  }).join("")

/** The header of an object and its loader. */
export const make = (
  object: BpfObject,
  loader: LoaderProgram,
  { name, types = false }: SkeletonOptions
): Result.Result<string, SkeletonError> =>
  attempt(isSkeletonError, () => {
    requireName(name)
    const header: Header = { shape: get(shapeOf(object, loader, name, CText.reserved)), loader, btf: object.btf }
    if (header.shape.programs.length + header.shape.maps.length === 0) {
      throw new SkeletonError({ reason: "Layout", name, detail: "the object has neither maps nor programs" })
    }
    const guard = `__${name.toUpperCase()}_SKEL_H__`
    const words = header.shape.words.length
    return `/* SPDX-License-Identifier: (LGPL-2.1 OR BSD-2-Clause) */
/*
 * Made by effect-bpf gen skeleton -L. Changes are lost when it is made again.
${kconfigText(header)} */
#ifndef ${guard}
#define ${guard}

#ifndef __KERNEL__
#include <errno.h>
#include <stddef.h>
#endif
#include <bpf/skel_internal.h>

${types && object.btf !== undefined ? `${typesText(object.btf, header.shape.sections)}\n` : ""}${structText(header)}${
      helpersText(header)
    }${attachText(header)}${destroyText(header)}${openText(header)}${loadText(header)}${assertText(header)}${
      words === 0 ? "" : `
/* Where the loader looks for what it is told. */
__attribute__((unused)) static const char ${name}__inputs_are_in_place
	[offsetof(struct ${name}, inputs) == ${
        Layout.contextInputs(header.shape.maps.length, header.shape.programs.length)
      } ? 1 : -1] = { 0 };
`
    }
#endif /* ${guard} */
`
  })
