/**
 * The struct of a light skeleton in C, with one for the variables of each section: where BTF has them, with padding in between.
 *
 * Source: reference page `skeleton`, section 2.
 */
import * as Result from "effect/Result"
import type * as Btf from "../../../btf/Btf.ts"
import * as BtfDump from "../../../btf/BtfDump.ts"
import type { LoaderProgram } from "../LoaderProgram.ts"
import { group, makeDeclarer, sectionMembers } from "./CDeclare.ts"
import * as CText from "./CText.ts"
import { SkeletonError, type SkeletonSection, type SkeletonShape } from "./SkeletonShape.ts"

/** What the parts of a header are made of. */
export interface Header {
  readonly shape: SkeletonShape
  readonly loader: LoaderProgram
  readonly btf: Btf.Btf | undefined
}

const sectionStructs = ({ btf, shape: { name, sections } }: Header): string => {
  // One for all: enumerators of enums without a name are of the whole header.
  const declarer = btf === undefined ? undefined : makeDeclarer(btf)
  return sections.map((section) =>
    `	struct ${name}__${section.identifier} {\n` +
    (declarer === undefined ? [] : sectionMembers(declarer, section)).map((line) => `\t\t${line}\n`).join("") +
    `	} *${section.identifier};\n`
  ).join("")
}

/** What the descriptors of links are called. */
export const linkNames = ({ maps, programs }: SkeletonShape): ReadonlyArray<string> => [
  ...programs.map(({ identifier }) => `${identifier}_fd`),
  ...maps.flatMap(({ identifier, structOpsLink }) => structOpsLink ? [`${identifier}_fd`] : [])
]

/** The struct of a skeleton. */
export const structText = (header: Header): string => {
  const { loader, shape } = header
  return `struct ${shape.name} {
	struct bpf_loader_ctx ctx;
${group(shape.maps.map(({ identifier }) => `struct bpf_map_desc ${identifier};`), "maps")}${
    group(shape.programs.map(({ identifier }) => `struct bpf_prog_desc ${identifier};`), "progs")
  }${
    group(
      shape.words.map(({ identifier, what }) => `__u32 ${identifier}; /* ${CText.comment(what)} */`),
      "inputs"
    )
  }${group(linkNames(shape).map((name) => `int ${name};`), "links")}${
    loader.signed === undefined ? "" : "	__s32 keyring_id;\n"
  }${sectionStructs(header)}};
`
}

/** The definitions of the types of all variables, each once. */
export const typesText = (btf: Btf.Btf, sections: ReadonlyArray<SkeletonSection>): string => {
  const dumper = BtfDump.makeDumper(btf)
  return sections.flatMap(({ variables }) => variables).map(({ name, type }) => {
    const dumped = BtfDump.dumpType(dumper, type)
    if (Result.isSuccess(dumped)) return dumped.success.text
    throw new SkeletonError({ reason: "Type", name, detail: `C cannot define its type: ${dumped.failure.message}` })
  }).join("")
}
