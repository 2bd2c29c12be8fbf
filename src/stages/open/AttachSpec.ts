/**
 * What the name of a section says of how its program is attached: plain data, read without a kernel.
 *
 * Source: reference page `sections`, section 4. Where libbpf passes over what does not fit (`kprobe/foo-5`), this does not.
 */
import * as Result from "effect/Result"
import type { AutoAttach } from "./SectionDefinitions.ts"

/** How a program, or a struct_ops map, is attached by itself. */
export type AttachSpec =
  | { readonly _tag: "Kprobe"; readonly symbol: string; readonly offset: bigint; readonly isReturn: boolean }
  | {
    readonly _tag: "KprobeMulti"
    /** A name, or a pattern with `*` and `?`. */
    readonly pattern: string
    readonly isReturn: boolean
    readonly isSession: boolean
  }
  | { readonly _tag: "Ksyscall"; readonly name: string; readonly isReturn: boolean }
  | {
    readonly _tag: "Uprobe"
    /** A path, the name of a library or program that is searched for, or `archive!/member`. */
    readonly path: string
    readonly symbol: string
    readonly offset: bigint
    readonly isReturn: boolean
  }
  | {
    readonly _tag: "UprobeMulti"
    readonly path: string
    readonly pattern: string
    readonly isReturn: boolean
    readonly isSession: boolean
  }
  | { readonly _tag: "Usdt"; readonly path: string; readonly provider: string; readonly name: string }
  | { readonly _tag: "Tracepoint"; readonly category: string; readonly name: string }
  | { readonly _tag: "RawTracepoint"; readonly name: string }
  /** To what the program was loaded for. */
  | { readonly _tag: "Tracing" }
  | {
    readonly _tag: "TracingMulti"
    /** Absent: functions of vmlinux. */
    readonly module?: string
    readonly pattern: string
  }
  | { readonly _tag: "Iter" }
  | { readonly _tag: "StructOps" }

/** What a section's name says. */
export type SectionSays =
  | { readonly _tag: "Attach"; readonly spec: AttachSpec; readonly target: string }
  /** Nothing is attached by itself, for this reason. */
  | { readonly _tag: "Skip"; readonly because: string }

/** Why a section's name makes no sense. */
export interface Nonsense {
  readonly detail: string
  readonly hint: string
}

type Read = Result.Result<SectionSays, Nonsense>

const skip = (because: string): Read => Result.succeed({ _tag: "Skip", because })
const says = (spec: AttachSpec, target: string): Read => Result.succeed({ _tag: "Attach", spec, target })
const nonsense = (detail: string, hint: string): Read => Result.fail({ detail, hint })

const notSaid = (prefix: string, form: string): Read =>
  skip(`SEC("${prefix}") does not say to what: SEC("${prefix}/${form}") would`)

/** `name`, or `name+offset`; the offset is decimal, octal after `0`, hexadecimal after `0x`. */
const place = (text: string): { readonly name: string; readonly offset: bigint } | undefined => {
  const plus = text.lastIndexOf("+")
  if (plus < 0) return { name: text, offset: 0n }
  const digits = text.slice(plus + 1)
  const name = text.slice(0, plus)
  if (/^0[xX][0-9a-fA-F]{1,16}$/.test(digits)) return { name, offset: BigInt(digits) }
  if (/^0[0-7]{0,22}$/.test(digits)) return { name, offset: BigInt(`0o${digits}`) }
  return /^[1-9][0-9]{0,19}$/.test(digits) ? { name, offset: BigInt(digits) } : undefined
}

const withOffset = (name: string, offset: bigint): string => offset === 0n ? name : `${name}+0x${offset.toString(16)}`

const isFunctionName = (name: string): boolean => /^[A-Za-z0-9_.$]+$/.test(name)
const isPattern = (name: string): boolean => /^[A-Za-z0-9_.$*?]+$/.test(name)

const kprobe = (prefix: string, tail: string): Read => {
  const found = place(tail)
  const isReturn = prefix === "kretprobe"
  if (found === undefined || !isFunctionName(found.name)) {
    return nonsense(`${tail} is no function's name`, `write SEC("${prefix}/function") or SEC("kprobe/function+0x10")`)
  }
  if (isReturn && found.offset !== 0n) {
    return nonsense("a return probe has no offset", `write SEC("${prefix}/${found.name}")`)
  }
  const { name, offset } = found
  return says({ _tag: "Kprobe", symbol: name, offset, isReturn }, withOffset(name, offset))
}

const kprobeMulti = (prefix: string, tail: string): Read =>
  isPattern(tail)
    ? says({
      _tag: "KprobeMulti",
      pattern: tail,
      isReturn: prefix === "kretprobe.multi",
      isSession: prefix === "kprobe.session"
    }, tail)
    : nonsense(`${tail} is no pattern of functions`, `patterns have letters, digits, _ . and the wildcards * and ?`)

/** A path and what is behind the colon: the last colon that leaves a name, since paths may have colons of their own. */
const splitPath = (tail: string): readonly [string, string] | undefined => {
  const colon = tail.lastIndexOf(":")
  return colon <= 0 || colon === tail.length - 1 ? undefined : [tail.slice(0, colon), tail.slice(colon + 1)]
}

const needsPath = (prefix: string, tail: string): Read =>
  nonsense(
    `"${tail}" does not name a file and a function in it`,
    `write SEC("${prefix}/path:function"), where path may be a library's name such as libc.so.6`
  )

const uprobe = (prefix: string, tail: string): Read => {
  const split = splitPath(tail)
  if (split === undefined) return needsPath(prefix, tail)
  const [path, rest] = split
  const isReturn = prefix.startsWith("uretprobe")
  // A name may have a plus sign of its own: operators of C++ do.
  const { name, offset } = place(rest) ?? { name: rest, offset: 0n }
  if (name === "") return needsPath(prefix, tail)
  return isReturn && offset !== 0n
    ? nonsense("a return probe has no offset", `write SEC("${prefix}/${path}:${name}")`)
    : says({ _tag: "Uprobe", path, symbol: name, offset, isReturn }, `${path}:${withOffset(name, offset)}`)
}

const uprobeMulti = (prefix: string, tail: string): Read => {
  const split = splitPath(tail)
  if (split === undefined) return needsPath(prefix, tail)
  const [path, pattern] = split
  return says({
    _tag: "UprobeMulti",
    path,
    pattern,
    isReturn: prefix.startsWith("uretprobe"),
    isSession: prefix.startsWith("uprobe.session")
  }, tail)
}

const usdt = (prefix: string, tail: string): Read => {
  const last = tail.lastIndexOf(":")
  const before = tail.lastIndexOf(":", last - 1)
  const [path, provider, name] = [
    tail.slice(0, Math.max(before, 0)),
    tail.slice(before + 1, last),
    tail.slice(last + 1)
  ]
  return before <= 0 || provider === "" || name === ""
    ? nonsense(`"${tail}" does not name a file, a provider and a probe`, `write SEC("${prefix}/path:provider:name")`)
    : says({ _tag: "Usdt", path, provider, name }, tail)
}

const tracepoint = (prefix: string, tail: string): Read => {
  const slash = tail.indexOf("/")
  const [category, name] = [tail.slice(0, Math.max(slash, 0)), tail.slice(slash + 1)]
  return slash <= 0 || name === ""
    ? nonsense(`"${tail}" does not name a tracepoint`, `write SEC("${prefix}/category/name")`)
    : says({ _tag: "Tracepoint", category, name }, `${category}/${name}`)
}

const tracingMulti = (prefix: string, tail: string): Read => {
  const parts = tail.split(":")
  const [first = "", second] = parts
  const [module, pattern] = second === undefined ? [undefined, first] : [first, second]
  return parts.length > 2 || !isPattern(pattern) || module === ""
    ? nonsense(
      `${tail} is no pattern of functions`,
      `write SEC("${prefix}/pattern") or SEC("${prefix}/module:pattern")`
    )
    : says(
      { _tag: "TracingMulti", pattern, ...(module === undefined || module === "vmlinux" ? {} : { module }) },
      tail
    )
}

/** Iterators that need to be told of which map. */
const overMaps: ReadonlySet<string> = new Set(["bpf_map_elem", "bpf_sk_storage_map", "sockmap"])

/** Readers of what is behind the slash, with the form that it has. */
const readers: Readonly<
  Partial<Record<AutoAttach, readonly [form: string, read: (prefix: string, tail: string) => Read]>>
> = {
  kprobe: ["function", kprobe],
  kprobe_multi: ["pattern", kprobeMulti],
  kprobe_session: ["pattern", kprobeMulti],
  ksyscall: [
    "name",
    (prefix, tail) =>
      isFunctionName(tail)
        ? says({ _tag: "Ksyscall", name: tail, isReturn: prefix === "kretsyscall" }, tail)
        : nonsense(`${tail} is no system call's name`, `write SEC("${prefix}/openat")`)
  ],
  uprobe: ["path:function", uprobe],
  uprobe_multi: ["path:pattern", uprobeMulti],
  usdt: ["path:provider:name", usdt],
  tp: ["category/name", tracepoint],
  raw_tp: [
    "name",
    (prefix, tail) =>
      tail === ""
        ? nonsense("it does not name a tracepoint", `write SEC("${prefix}/name")`)
        : says({ _tag: "RawTracepoint", name: tail }, tail)
  ],
  tracing_multi: ["pattern", tracingMulti]
}

/** What a section says whose programs attach by this routine. */
export const read = (routine: AutoAttach, section: string): Result.Result<SectionSays, Nonsense> => {
  const slash = section.indexOf("/")
  const [prefix, tail] = slash < 0 ? [section, undefined] : [section.slice(0, slash), section.slice(slash + 1)]
  switch (routine) {
    case "trace":
    case "lsm":
      return says({ _tag: "Tracing" }, tail ?? "")
    case "iter":
      return overMaps.has(tail ?? "")
        ? skip("it goes over the elements of a map, and its section does not say of which")
        : says({ _tag: "Iter" }, tail ?? "")
    case "none":
      return skip("programs of this kind are attached to something that their section does not name")
    default: {
      const reader = readers[routine]
      if (reader === undefined) return skip("nothing attaches programs of this kind by itself")
      return tail === undefined ? notSaid(prefix, reader[0]) : reader[1](prefix, tail)
    }
  }
}
