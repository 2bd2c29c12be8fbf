/** What `gen` says to people of what it has written. */
import type { MinCoreBtf, ObjectNeeds } from "../../stages/gen/MinCoreBtf.ts"
import { errorText, reportOf } from "./ErrorText.ts"
import { counted, type Line, line, span, wrapped } from "./Text.ts"

/** The minimal BTF that was written, and how many relocations of each object are about it. */
export const minCoreBtfText = (
  output: string,
  whole: { readonly types: number; readonly bytes: number },
  { btf, objects }: MinCoreBtf
): ReadonlyArray<Line> => [
  wrapped(
    2,
    span("name", output),
    `: ${counted(btf.offsets.length, "type")}, ${counted(btf.bytes.length, "byte")}`,
    ` of ${counted(whole.types, "type")}, ${counted(whole.bytes, "byte")}`
  ),
  ...objects.flatMap(({ name, records, typeIds }) => [
    line("  ", span("name", name), `: ${counted(records, "CO-RE relocation")}`),
    ...(typeIds === 0 ? [] : [
      wrapped(
        4,
        "    ",
        span("warning", `${counted(typeIds, "relocation")} for ids of the kernel's types`),
        ": they become ids of this file, which the kernel does not know"
      )
    ])
  ])
]

/** The problems that are told of one object. */
const TOLD = 20

/** The relocations of an object that cannot be applied. */
export const problemText = ({ name, problems }: ObjectNeeds): ReadonlyArray<Line> => [
  ...problems.slice(0, TOLD).flatMap(({ error, section }) => {
    const { hints, message } = reportOf(error)
    return errorText({ message: `${name}: ${section}: ${message}`, hints })
  }),
  ...(problems.length <= TOLD ? [] : [line(`  … and ${problems.length - TOLD} more`)])
]
