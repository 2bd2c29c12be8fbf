/**
 * Subskeletons in C: a header with the names of a library object, and a function over libbpf that finds them in the object
 * of a program that the library was linked into.
 *
 * Names, structs and the meaning of the functions are those of `bpftool gen subskeleton`: members of a section's struct point
 * to the variables, wherever the linker put them; one that is not found stays null. Variables of an arena are left out, for
 * libbpf does not look for them. Differences are those of `SkeletonC`, and: pointers to arrays and to functions are declared
 * as C declares them; an object without variables opens whatever `calloc` answers for no bytes.
 *
 * libbpf goes by names alone: a static variable of another object that has the name of one of the library's, and stands before
 * it in the section, is taken for it.
 *
 * Source: reference page `skeleton`, section 3; libbpf's `libbpf.h`.
 */
import type * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import { attempt } from "../../internal/attempt.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import { declare, type Declarer } from "./skeleton/CDeclare.ts"
import * as CHeader from "./skeleton/CHeader.ts"
import * as CText from "./skeleton/CText.ts"
import { type ObjectShape, requireReadable, sectionsOf, shapeOf } from "./skeleton/ObjectShape.ts"
import { get, isSkeletonError, SkeletonError, type SkeletonVariable } from "./skeleton/SkeletonShape.ts"
import type { SkeletonOptions } from "./SkeletonC.ts"

/** The member that points to a variable. A pointer to an array needs parentheses, an array of pointers has none. */
const pointer = (
  declarer: Declarer,
  { identifier, name, type }: SkeletonVariable,
  { kconfig, spell }: { readonly kconfig: boolean; readonly spell: (identifier: string) => string }
): string => {
  const isArray = Btf.kindOf(declarer.btf, Btf.skipModifiers(declarer.btf, type)) === Btf.BTF_KIND_ARRAY
  const declared = `*${spell(identifier)}`
  return `${
    declare(declarer, type, name, {
      name: isArray ? `(${declared})` : declared,
      level: 2,
      stripModifiers: !kconfig
    })
  };`
}

/** The structs of the sections, each a pointer to every variable of it. */
const sectionsText = ({ declarer, shape, spell }: CHeader.Header): string =>
  sectionsOf(shape).flatMap(({ identifier, kconfig, variables }) =>
    declarer === undefined ? [] : [
      `	struct ${shape.name}__${identifier} {
${variables.map((variable) => `\t\t${pointer(declarer, variable, { kconfig, spell })}\n`).join("")}	} ${identifier};
`
    ]
  ).join("")

/** Statements that make the table of variables `s->vars`. */
const variableTable = ({ shape, spell }: CHeader.Header): string => {
  const all = shape.maps.flatMap(({ identifier: map, section }) =>
    (section?.variables ?? []).map((variable) => ({ ...variable, map, section: section?.identifier ?? "" }))
  )
  if (all.length === 0) return ""
  return `
	s->var_cnt = ${all.length};
	s->var_skel_sz = sizeof(*s->vars);
	s->vars = (struct bpf_var_skeleton *)calloc(${all.length}, sizeof(*s->vars));
${CHeader.allocated("vars")}${
    all.map(({ identifier, map, name, section }, number) =>
      `	s->vars[${number}].name = ${CText.literal(name)};
	s->vars[${number}].map = &obj->maps.${spell(map)};
	s->vars[${number}].addr = (void **)&obj->${section}.${spell(identifier)};
`
    ).join("")
  }`
}

const structText = (header: CHeader.Header, sections: string): string => {
  const { name } = header.shape
  return `struct ${name} {
	struct bpf_object *obj;
	struct bpf_object_subskeleton *subskel;
${CHeader.mapsText(header)}${CHeader.structOpsText(header)}${CHeader.programsText(header)}${sections}
#ifdef __cplusplus
	static inline struct ${name} *open(const struct bpf_object *src);
	static inline void destroy(struct ${name} *skel);
#endif
};
`
}

const functionsText = (header: CHeader.Header): string => {
  const { shadows, shape: { name } } = header
  return `
static inline void
${name}__destroy(struct ${name} *skel)
{
	if (!skel)
		return;
	if (skel->subskel)
		bpf_object__destroy_subskeleton(skel->subskel);
	free(skel);
}

/* Finds what the struct names in an object that is opened or loaded. */
static inline struct ${name} *
${name}__open(const struct bpf_object *src)
{
	struct bpf_map_skeleton *map __attribute__((unused));
	struct bpf_object_subskeleton *s;
	struct ${name} *obj;
${shadows.size === 0 ? "" : "	size_t size;\n"}	int err;

	obj = (struct ${name} *)calloc(1, sizeof(*obj));
	if (!obj) {
		errno = ENOMEM;
		return NULL;
	}
	s = (struct bpf_object_subskeleton *)calloc(1, sizeof(*s));
	if (!s) {
		err = -ENOMEM;
		goto failed;
	}
	obj->subskel = s;
	s->sz = sizeof(*s);
	s->obj = src;
${variableTable(header)}${CHeader.mapTable(header, { links: false, memory: false })}${
    CHeader.programTable(header, { links: false })
  }
	err = bpf_object__open_subskeleton(s);
	if (err)
		goto failed;
${CHeader.structOpsOpened(header)}	return obj;
failed:
	${name}__destroy(obj);
	errno = -err;
	return NULL;
}

#ifdef __cplusplus
inline struct ${name} *${name}::open(const struct bpf_object *src)
{
	return ${name}__open(src);
}
inline void ${name}::destroy(struct ${name} *skel)
{
	${name}__destroy(skel);
}
#endif
`
}

/** The shape without variables in an arena. */
const withoutArena = (shape: ObjectShape): ObjectShape => ({
  ...shape,
  maps: shape.maps.map((map) => map.section?.arena === true ? { ...map, section: undefined } : map)
})

/** Throws where a variable could not be found by its name. */
const requireVariables = (shape: ObjectShape): void => {
  for (const { variables } of sectionsOf(shape)) requireReadable(variables.map(({ name }) => name), "variable")
}

/** The header of a library object. */
export const make = (object: BpfObject, { name }: SkeletonOptions): Result.Result<string, SkeletonError> =>
  attempt(isSkeletonError, () => {
    if (object.btf === undefined) {
      throw new SkeletonError({
        reason: "Type",
        name,
        detail: "the object has no types, by which its variables would be found",
        hint: "compile with `-g`, and strip with `llvm-strip -g` only"
      })
    }
    const shape = withoutArena(get(shapeOf(object, name, CText.reservedInC)))
    requireVariables(shape)
    const named = CHeader.make(shape, object.btf)
    const sections = sectionsText(named)
    const header = CHeader.withShadows(named)
    return CHeader.frame(
      name,
      "SUBSKEL_H",
      "gen subskeleton",
      `${CHeader.wordsText(header)}${CHeader.inBoth(structText(header, sections))}${functionsText(header)}`
    )
  })
