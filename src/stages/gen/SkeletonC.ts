/**
 * Skeletons in C: a header with an object in it, and functions over libbpf that open, load, attach and destroy it.
 *
 * Names, structs and the meaning of the functions are those of `bpftool gen skeleton`, so that code that was written for one
 * header compiles with the other. It is compiled beside libbpf 1.0 or later; links of structs of functions need 1.5.
 *
 * Differences, all where bpftool's header does not compile or is wrong:
 *
 * - Identifiers that C keeps for itself, or that two things would have, get underscores; those of C++ do where it is C++.
 * - Maps of data are found by the names of their sections, so that `object_name` can be given when the header's is opened.
 * - What follows a variable with a flexible array, and variables that are not aligned, stand where the object has them.
 *   Offsets are asserted beside sizes.
 * - Bit fields in a struct of functions are bit fields; members that C would put elsewhere are bytes.
 * - Names of types that are no identifiers are refused.
 *
 * Types of variables are only named, as in bpftool's: whoever includes the header includes theirs first.
 *
 * Source: reference page `skeleton`, section 2; libbpf's `libbpf.h`.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import { bytesOf, group, isFlexible, sectionMembers } from "./skeleton/CDeclare.ts"
import * as CHeader from "./skeleton/CHeader.ts"
import * as CText from "./skeleton/CText.ts"
import { linksOf, sectionsOf, shapeOf } from "./skeleton/ObjectShape.ts"
import { get, isSkeletonError, SkeletonError } from "./skeleton/SkeletonShape.ts"

export { nameOfFile, SkeletonError } from "./skeleton/SkeletonShape.ts"

/** What a header is to be like. */
export interface SkeletonOptions {
  /** What all names begin with; `nameOfFile` has the one that bpftool would take. */
  readonly name: string
}

type Header = CHeader.Header

/** The structs of the sections, as pointers to their memory. */
const sectionsText = ({ declarer, shape, spell }: Header): string =>
  sectionsOf(shape).map((section) =>
    `	struct ${shape.name}__${section.identifier} {
${
      (declarer === undefined ? [] : sectionMembers(declarer, section, spell)).map((line) => `\t\t${line}\n`).join("")
    }	} *${section.identifier};
`
  ).join("")

/** Functions of the header that C++ knows as members: what they return, their name and what they take. */
const members = (name: string): ReadonlyArray<readonly [returns: string, member: string, parameter: string]> => [
  [`struct ${name} *`, "open", "const struct bpf_object_open_opts *opts"],
  [`struct ${name} *`, "open_and_load", ""],
  ["int ", "load", `struct ${name} *skel`],
  ["int ", "attach", `struct ${name} *skel`],
  ["void ", "detach", `struct ${name} *skel`],
  ["void ", "destroy", `struct ${name} *skel`],
  ["const void *", "elf_bytes", "size_t *sz"]
]

const structText = (header: Header, sections: string): string => {
  const { shape: { name, ...shape }, spell } = header
  const links = linksOf({ name, ...shape }).map((link) => `struct bpf_link *${spell(link)};`)
  return `struct ${name} {
	struct bpf_object_skeleton *skeleton;
	struct bpf_object *obj;
${CHeader.mapsText(header)}${CHeader.structOpsText(header)}${CHeader.programsText(header)}${
    group(links, "links")
  }${sections}
#ifdef __cplusplus
${
    members(name).map(([returns, member, parameter]) =>
      `	static inline ${returns}${member}(${parameter}${member === "open" ? " = nullptr" : ""});\n`
    ).join("")
  }#endif
};
`
}

/** The struct, where clang would warn of flexible arrays in it without that. */
const withoutWarning = ({ declarer, shape }: Header, text: string): string => {
  const flexible = declarer !== undefined &&
    sectionsOf(shape).some(({ variables }) => variables.some((variable) => isFlexible(declarer.btf, variable)))
  return !flexible ? text : `#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wgnu-variable-sized-type-not-at-end"
#endif
${text}#ifdef __clang__
#pragma clang diagnostic pop
#endif
`
}

const cxxText = (name: string): string => `
#ifdef __cplusplus
${
  members(name).map(([returns, member, parameter]) => {
    const argument = parameter === "" ? "" : parameter.replace(/^.*[ *]/, "")
    const called = member === "open" ? "open_opts" : member
    return `inline ${returns}${name}::${member}(${parameter})
{
	${returns === "void " ? "" : "return "}${name}__${called}(${argument});
}
`
  }).join("")
}#endif
`

const functionsText = (header: Header): string => {
  const { shadows, shape: { maps, name }, spell } = header
  const withoutLinks = maps.flatMap(({ link }) => link === undefined ? [] : [spell(link)])
  const unlink = withoutLinks.length === 0 ? "" : `#ifndef ${name}__MAP_LINKS
${withoutLinks.map((link) => `	bpf_link__destroy(obj->links.${link});\n	obj->links.${link} = NULL;\n`).join("")}#endif
`
  return `
static inline const void *${name}__elf_bytes(size_t *sz);

static inline void
${name}__detach(struct ${name} *obj)
{
${unlink}	bpf_object__detach_skeleton(obj->skeleton);
}

static inline void
${name}__destroy(struct ${name} *obj)
{
	if (!obj)
		return;
	if (obj->skeleton) {
		${name}__detach(obj);
		bpf_object__destroy_skeleton(obj->skeleton);
	}
	free(obj);
}

/* Makes the tables in which libbpf looks up what the struct names, and where it puts what it found. */
static inline int
${name}__create_skeleton(struct ${name} *obj)
{
	struct bpf_map_skeleton *map __attribute__((unused));
	struct bpf_object_skeleton *s;
	int err __attribute__((unused));

	s = (struct bpf_object_skeleton *)calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->sz = sizeof(*s);
	s->name = "${name}";
	s->obj = &obj->obj;
	s->data = ${name}__elf_bytes(&s->data_sz);
${CHeader.mapTable(header, { links: true, memory: true })}${CHeader.programTable(header, { links: true })}
	obj->skeleton = s;
	return 0;
${
    header.shape.maps.length + header.shape.programs.length === 0 ? "" : `failed:
	free(s->maps);
	free(s->progs);
	free(s);
	return err;
`
  }}

static inline struct ${name} *
${name}__open_opts(const struct bpf_object_open_opts *opts)
{
	struct ${name} *obj;
${shadows.size === 0 ? "" : "	size_t size;\n"}	int err;

	obj = (struct ${name} *)calloc(1, sizeof(*obj));
	if (!obj) {
		errno = ENOMEM;
		return NULL;
	}
	err = ${name}__create_skeleton(obj);
	if (!err)
		err = bpf_object__open_skeleton(obj->skeleton, opts);
	if (err) {
		${name}__destroy(obj);
		errno = -err;
		return NULL;
	}
${CHeader.structOpsOpened(header)}	return obj;
}

static inline struct ${name} *
${name}__open(void)
{
	return ${name}__open_opts(NULL);
}

static inline int
${name}__load(struct ${name} *obj)
{
	return bpf_object__load_skeleton(obj->skeleton);
}

static inline struct ${name} *
${name}__open_and_load(void)
{
	struct ${name} *obj = ${name}__open();
	int err;

	if (!obj)
		return NULL;
	err = ${name}__load(obj);
	if (err) {
		${name}__destroy(obj);
		errno = -err;
		return NULL;
	}
	return obj;
}

static inline int
${name}__attach(struct ${name} *obj)
{
	return bpf_object__attach_skeleton(obj->skeleton);
}
`
}

const bytesText = ({ shape: { name } }: Header, bytes: Uint8Array): string => `
static inline const void *
${name}__elf_bytes(size_t *sz)
{
	static const char data[] __attribute__((__aligned__(8))) = "\\
${CText.escaped(bytes)}";

	*sz = sizeof(data) - 1;
	return (const void *)data;
}
`

const assertText = (header: Header): string => {
  const { shadows, shape, spell } = header
  const { name } = shape
  const btf = header.declarer?.btf
  const variables = sectionsOf(shape).flatMap(({ identifier: section, variables }) =>
    variables.map((each) => ({
      identifier: each.identifier,
      offset: each.offset,
      size: btf === undefined ? each.size : bytesOf(btf, each),
      section
    }))
  )
  const sizes = variables.map(({ identifier, section, size }) =>
    `	_Static_assert(sizeof(s->${section}->${spell(identifier)}) == ${size}, "unexpected size of '${identifier}'");\n`
  )
  const places = variables.map(({ identifier, offset, section }) =>
    `	_Static_assert(offsetof(__typeof__(*s->${section}), ${spell(identifier)}) == ${offset}, ` +
    `"unexpected place of '${identifier}'");\n`
  )
  const members = [...shadows].flatMap(([number, { lines }]) =>
    lines.flatMap(({ member }) =>
      member === undefined ? [] : [
        `	_Static_assert(offsetof(__typeof__(*s->struct_ops.${spell(shape.maps[number]?.identifier ?? "")}), ${
          spell(member.identifier)
        }) == ${member.offset}, "unexpected place of '${member.identifier}'");\n`
      ]
    )
  )
  return `
__attribute__((unused)) static inline void
${name}__assert(struct ${name} *s __attribute__((unused)))
{
#ifdef __cplusplus
#define _Static_assert static_assert
#endif
${sizes.join("")}${places.join("")}${
    // Pointers of a 32-bit machine are not those of the object.
    members.length === 0 ? "" : `#if __SIZEOF_POINTER__ == 8\n${members.join("")}#endif\n`}#ifdef __cplusplus
#undef _Static_assert
#endif
}
`
}

/** The most bytes of an object in a header, where each is four characters: compilers take no longer literals either. */
const maxBytes = 64 * 1024 * 1024

/** The header of an object, `bytes` being the file that it was opened from: 64 MiB at most. */
export const make = (
  object: BpfObject,
  bytes: Uint8Array,
  { name }: SkeletonOptions
): Result.Result<string, SkeletonError> =>
  attempt(isSkeletonError, () => {
    if (bytes.length > maxBytes) {
      const detail = `the object has ${bytes.length} bytes, and a header has room for ${maxBytes}`
      const hint = "strip its debug information, with llvm-strip -g or effect-bpf gen object"
      throw new SkeletonError({ reason: "Layout", name, detail, hint })
    }
    const shape = get(shapeOf(object, name, CText.reservedInC))
    const named = CHeader.make(shape, object.btf)
    const sections = sectionsText(named)
    const header = CHeader.withShadows(named)
    return CHeader.frame(
      name,
      "SKEL_H",
      "gen skeleton",
      `${CHeader.mapLinksText(header)}#ifdef ${name}__MAP_LINKS
#define BPF_SKEL_SUPPORTS_MAP_AUTO_ATTACH 1
#endif

${CHeader.wordsText(header)}${withoutWarning(header, CHeader.inBoth(structText(header, sections)))}${
        functionsText(header)
      }${bytesText(header, bytes)}${cxxText(name)}${assertText(header)}`
    )
  })
