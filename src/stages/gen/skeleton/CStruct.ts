/**
 * The struct of a light skeleton in C, with one for the variables of each section: where BTF has them, with padding in between.
 *
 * Source: reference page `skeleton`, section 2.
 */
import * as Result from "effect/Result"
import type * as Btf from "../../../btf/Btf.ts"
import * as BtfDump from "../../../btf/BtfDump.ts"
import type { LoaderProgram } from "../LoaderProgram.ts"
import * as CText from "./CText.ts"
import { alignmentOf, SkeletonError, type SkeletonSection, type SkeletonShape } from "./SkeletonShape.ts"

/** Whether it was thrown as the reason why there is no skeleton. */
export const isSkeletonError = (thrown: unknown): thrown is SkeletonError => thrown instanceof SkeletonError

/** The value, or throws the reason why there is none. */
export const get = <A>(result: Result.Result<A, SkeletonError>): A => {
  if (Result.isSuccess(result)) return result.success
  throw result.failure
}

/** What the parts of a header are made of. */
export interface Header {
  readonly shape: SkeletonShape
  readonly loader: LoaderProgram
  readonly btf: Btf.Btf | undefined
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to

/** The members of a section's struct: variables where BTF puts them, with padding in between. */
const members = (btf: Btf.Btf, section: SkeletonSection): ReadonlyArray<string> => {
  const dumper = BtfDump.makeDumper(btf)
  const lines: Array<string> = []
  let at = 0
  let paddings = 0
  for (const variable of section.variables) {
    const { identifier, name, offset, size, type } = variable
    if (offset < at) {
      const detail = `it begins at byte ${offset} of its section, where another variable is up to byte ${at}`
      throw new SkeletonError({ reason: "Layout", name, detail })
    }
    if (roundUp(at, get(alignmentOf(btf, variable))) !== offset) {
      lines.push(`char __pad${paddings++}[${offset - at}];`)
    }
    const declared = BtfDump.declareType(dumper, type, {
      name: identifier,
      level: 2,
      // Constants are written to before they are loaded; what the kernel's configuration says is not.
      stripModifiers: !section.kconfig
    })
    if (Result.isFailure(declared)) {
      throw new SkeletonError({ reason: "Type", name, detail: `C cannot declare it: ${declared.failure.message}` })
    }
    lines.push(`${declared.success};`)
    at = offset + size
  }
  return lines
}

const sectionStruct = ({ btf, shape }: Header, section: SkeletonSection): string =>
  `	struct ${shape.name}__${section.identifier} {\n` +
  (btf === undefined ? [] : members(btf, section)).map((line) => `\t\t${line}\n`).join("") +
  `	} *${section.identifier};\n`

/** A struct of one member for each of these; nothing where there are none. */
const group = (lines: ReadonlyArray<string>, name: string): string =>
  lines.length === 0 ? "" : `	struct {\n${lines.map((line) => `\t\t${line}\n`).join("")}	} ${name};\n`

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
  }${shape.sections.map((section) => sectionStruct(header, section)).join("")}};
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
