/**
 * What the headers of skeletons and subskeletons in C share: their frame, the structs of names, and the tables from which
 * libbpf finds what they name.
 *
 * Source: reference page `skeleton`, sections 2 and 3; libbpf's `libbpf.h`.
 */
import * as CText from "./CText.ts"
import { type Declarer, group, makeDeclarer } from "./CDeclare.ts"
import * as CShadow from "./CShadow.ts"
import { linksOf, type ObjectShape, sectionsOf } from "./ObjectShape.ts"
import { SkeletonError } from "./SkeletonShape.ts"
import type { Btf } from "../../../btf/Btf.ts"

/** What the parts of a header are made of. */
export interface Header {
  readonly shape: ObjectShape
  readonly declarer: Declarer | undefined
  /** The structs of functions, by the numbers of their maps. */
  readonly shadows: ReadonlyMap<number, CShadow.Shadow>
  /** An identifier as the header writes it: a macro for words that C++ keeps for itself. */
  readonly spell: (identifier: string) => string
}

/** Refuses a name that no struct can have. Throws. */
export const requireName = (name: string): void => {
  if (!CText.reservedInC.has(name) && !CText.reservedInCxx.has(name)) return
  throw new SkeletonError({
    reason: "Name",
    name,
    detail: "is a word that C or C++ keeps for itself",
    hint: "name NAME behind the object gives another name"
  })
}

/** The header of a shape. Throws. */
export const make = (shape: ObjectShape, btf: Btf | undefined): Header => {
  requireName(shape.name)
  const spell = (identifier: string): string =>
    CText.reservedInCxx.has(identifier) ? `${shape.name}__word_${identifier}` : identifier
  const declarer = btf === undefined ? undefined : makeDeclarer(btf)
  return { shape, declarer, shadows: new Map(), spell }
}

/** The header with the structs of functions. Declares them after all else that has its names first. Throws. */
export const withShadows = (header: Header): Header => {
  const { declarer, shape, spell } = header
  if (declarer === undefined) return header
  const shadows = shape.maps.flatMap(({ name, structOps }, number) =>
    structOps === undefined ? [] : [[number, CShadow.make(declarer, name, structOps.typeId, spell)] as const]
  )
  return { ...header, shadows: new Map(shadows) }
}

/** Macros for the words that C++ keeps for itself: what they are called there. */
export const wordsText = ({ shadows, shape }: Header): string => {
  const identifiers = new Set([
    ...shape.maps.map(({ identifier }) => identifier),
    ...shape.programs.map(({ identifier }) => identifier),
    ...linksOf(shape),
    ...sectionsOf(shape).flatMap(({ variables }) => variables.map(({ identifier }) => identifier)),
    ...[...shadows.values()].flatMap((shadow) => shadow.identifiers)
  ])
  const words = [...identifiers].filter((identifier) => CText.reservedInCxx.has(identifier))
  if (words.length === 0) return ""
  const inCxx = (word: string): string => {
    let name = `${word}_`
    while (identifiers.has(name)) name += "_"
    return name
  }
  const defines = (name: (word: string) => string): string =>
    words.map((word) => `#define ${shape.name}__word_${word} ${name(word)}\n`).join("")
  return `/* Names that C++ keeps for itself have an underscore there. */
#ifdef __cplusplus
${defines(inCxx)}#else
${defines((word) => word)}#endif

`
}

/** A header around its text. `kind` ends the guard. */
export const frame = (name: string, kind: "SKEL_H" | "SUBSKEL_H", command: string, text: string): string => {
  const guard = `__${name.toUpperCase()}_${kind}__`
  return `/* SPDX-License-Identifier: (LGPL-2.1 OR BSD-2-Clause) */
/* Made by effect-bpf ${command}. Changes are lost when it is made again. */
#ifndef ${guard}
#define ${guard}

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <bpf/libbpf.h>

${text}
#endif /* ${guard} */
`
}

/** Declarations as C++ reads them, too: C's own name of `bool` is none there. */
export const inBoth = (declarations: string): string => declarations.replaceAll(/\b_Bool\b/g, "bool")

/** The struct with the maps. */
export const mapsText = ({ shape, spell }: Header): string =>
  group(shape.maps.map(({ identifier }) => `struct bpf_map *${spell(identifier)};`), "maps")

/** The struct with the programs. */
export const programsText = ({ shape, spell }: Header): string =>
  group(shape.programs.map(({ identifier }) => `struct bpf_program *${spell(identifier)};`), "progs")

/** The struct with the structs of functions. */
export const structOpsText = ({ shadows, shape, spell }: Header): string =>
  group(
    [...shadows].flatMap(([number, { lines, typeName }]) => {
      const identifier = shape.maps[number]?.identifier ?? ""
      return [
        `struct ${shape.name}__${identifier}__${typeName} {`,
        ...lines.map(({ text }) => `\t${text};`),
        `} *${spell(identifier)};`
      ]
    }),
    "struct_ops"
  )

/** Statements that set the pointers to the structs of functions, in an opened object. */
export const structOpsOpened = ({ shadows, shape, spell }: Header): string =>
  [...shadows.keys()].map((number) => {
    const identifier = spell(shape.maps[number]?.identifier ?? "")
    return `	obj->struct_ops.${identifier} = (__typeof__(obj->struct_ops.${identifier}))
		bpf_map__initial_value(obj->maps.${identifier}, &size);
`
  }).join("")

/** Statements that make sure that a table of `s` was allocated. */
export const allocated = (table: string): string =>
  `	if (!s->${table}) {
		err = -ENOMEM;
		goto failed;
	}
`

/**
 * Statements that make the table of maps `s->maps`. An entry has the size that libbpf has always known, unless it has a
 * link, which newer ones alone know: so a program that is compiled beside a newer libbpf runs with an older one.
 */
export const mapTable = (
  { shape, spell }: Header,
  { links, memory }: { readonly links: boolean; readonly memory: boolean }
): string => {
  const { maps, name } = shape
  if (maps.length === 0) return ""
  const linked = links && maps.some(({ link }) => link !== undefined)
  const size = linked ? "sizeof(*s->maps)" : "(offsetof(struct bpf_map_skeleton, mmaped) + sizeof(void *))"
  return `
	s->map_cnt = ${maps.length};
	s->map_skel_sz = (int)${size};
	s->maps = (struct bpf_map_skeleton *)calloc(${maps.length}, sizeof(*s->maps));
${allocated("maps")}${
    maps.map(({ identifier, link, name: found, section }, number) =>
      `	map = (struct bpf_map_skeleton *)((char *)s->maps + ${number} * s->map_skel_sz);
	map->name = ${CText.literal(found)};
	map->map = &obj->maps.${spell(identifier)};
${memory && section !== undefined ? `	map->mmaped = (void **)&obj->${section.identifier};\n` : ""}${
        links && link !== undefined
          ? `#ifdef ${name}__MAP_LINKS\n	map->link = &obj->links.${spell(link)};\n#endif\n`
          : ""
      }`
    ).join("")
  }`
}

/** Statements that make the table of programs `s->progs`. */
export const programTable = ({ shape, spell }: Header, { links }: { readonly links: boolean }): string => {
  const { programs } = shape
  if (programs.length === 0) return ""
  return `
	s->prog_cnt = ${programs.length};
	s->prog_skel_sz = sizeof(*s->progs);
	s->progs = (struct bpf_prog_skeleton *)calloc(${programs.length}, sizeof(*s->progs));
${allocated("progs")}${
    programs.map(({ identifier, link, name: found }, number) =>
      `	s->progs[${number}].name = ${CText.literal(found)};
	s->progs[${number}].prog = &obj->progs.${spell(identifier)};
${links ? `	s->progs[${number}].link = &obj->links.${spell(link)};\n` : ""}`
    ).join("")
  }`
}

/** The macro that says whether this libbpf's table of maps has links: since 1.5. */
export const mapLinksText = ({ shape }: Header): string =>
  `#if LIBBPF_MAJOR_VERSION > 1 || (LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION >= 5)
#define ${shape.name}__MAP_LINKS 1
#endif
`
