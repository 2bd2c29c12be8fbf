/**
 * What makes a C dump a header: guards, macros, the pragma for CO-RE, and declarations of kfuncs.
 *
 * Source: reference page `btf-dump`, section H.3.
 */
import * as Kind from "../BtfKind.ts"
import { declare } from "./Declare.ts"
import type { Flat } from "./Flat.ts"
import { extraAt, nameAt, wordAt } from "./Flat.ts"
import { ascii, put } from "./Output.ts"
import { compare } from "./SortStrings.ts"
import type { State } from "./State.ts"

const lines = (...text: ReadonlyArray<string>): Uint8Array => ascii(text.map((line) => `${line}\n`).join(""))

/** Defines a macro to this where nobody did. */
const unlessDefined = (macro: string, ...body: ReadonlyArray<string>): ReadonlyArray<string> => [
  `#ifndef ${macro}`,
  ...body,
  "#endif",
  ""
]

/** What comes before the types. */
export const prologue: Uint8Array = lines(
  "#ifndef __VMLINUX_H__",
  "#define __VMLINUX_H__",
  "",
  ...unlessDefined(
    "BPF_NO_PRESERVE_ACCESS_INDEX",
    "#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)"
  ),
  ...unlessDefined("__ksym", "#define __ksym __attribute__((section(\".ksyms\")))"),
  ...unlessDefined("__weak", "#define __weak __attribute__((weak))"),
  ...unlessDefined(
    "__bpf_fastcall",
    "#if __has_attribute(bpf_fastcall)",
    "#define __bpf_fastcall __attribute__((bpf_fastcall))",
    "#else",
    "#define __bpf_fastcall",
    "#endif"
  )
)

/** What comes after the types. */
export const epilogue: Uint8Array = lines(
  ...unlessDefined("BPF_NO_PRESERVE_ACCESS_INDEX", "#pragma clang attribute pop"),
  "#endif /* __VMLINUX_H__ */"
)

const kfuncsBegin = lines("", "/* BPF kfuncs */", "#ifndef BPF_NO_KFUNC_PROTOTYPES")
const kfuncsEnd = lines("#endif", "")
const EXTERN = ascii("extern ")
const FASTCALL = ascii("__bpf_fastcall ")
const ATTRIBUTES = ascii(" __weak __ksym;\n")

/** The tag of a kfunc, and the one of a kfunc whose caller keeps registers. */
const KFUNC = ascii("bpf_kfunc\0")
const FAST = ascii("bpf_fastcall\0")

/** The component index of a tag on a whole declaration, -1, as it is read. */
const WHOLE = 0xffff_ffff

const isText = (flat: Flat, offset: number, text: Uint8Array): boolean =>
  text.every((byte, index) => flat.strings[offset + index] === byte)

/** The kfuncs of a blob. */
export interface Kfuncs {
  /** By name, then by id. */
  readonly ids: ReadonlyArray<number>
  /** Those whose callers keep registers. */
  readonly fast: ReadonlySet<number>
}

/** The functions that tags call kfuncs. */
export const kfuncs = (flat: Flat): Kfuncs => {
  const { endId, kinds, strings } = flat
  const tagged = new Set<number>()
  const fast = new Set<number>()
  for (let id = 1; id < endId; id++) {
    if (kinds[id] !== Kind.BTF_KIND_DECL_TAG || extraAt(flat, id, 0) !== WHOLE) continue
    const target = wordAt(flat, id)
    if (kinds[target] !== Kind.BTF_KIND_FUNC) continue
    if (isText(flat, nameAt(flat, id), KFUNC)) tagged.add(target)
    else if (isText(flat, nameAt(flat, id), FAST)) fast.add(target)
  }
  const ids = [...tagged].sort((left, right) =>
    compare(strings, nameAt(flat, left), nameAt(flat, right), 0) || left - right
  )
  return { ids, fast }
}

/** Writes the declarations of kfuncs; one that C cannot declare throws. */
export const writeKfuncs = (state: State, { fast, ids }: Kfuncs): void => {
  const { flat, out } = state
  put(out, kfuncsBegin)
  for (const id of ids) {
    put(out, EXTERN)
    if (fast.has(id)) put(out, FASTCALL)
    declare(state, wordAt(flat, id), nameAt(flat, id), 0)
    put(out, ATTRIBUTES)
  }
  put(out, kfuncsEnd)
}
