/**
 * What BPF programs are told of a probe's arguments: records of the map `__bpf_usdt_specs`, which `usdt.bpf.h` defines.
 *
 * libbpf has published two layouts of these records, which are not compatible, and an object has the one of the header that
 * it was compiled with. So nothing of it is taken for granted here: members are found by name in the object's own BTF.
 *
 * Source: reference page `usdt`, sections 6 and 9.
 */
import * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import * as Btf from "../btf/Btf.ts"
import * as BtfValue from "../btf/BtfValue.ts"
import type { Argument, Architecture, Location } from "./Argument.ts"
import { registerOffset } from "./Argument.ts"
import { isUsdtError, refuse, type UsdtError } from "./UsdtError.ts"

/** The map of the records. */
export const specsMap = "__bpf_usdt_specs"

/** The map that finds the number of a record by the address of a probe, for kernels without cookies. */
export const addressMap = "__bpf_usdt_ip_to_spec_id"

/** How the records of one object are laid out. */
export interface Layout {
  readonly btf: Btf.Btf
  /** The records' type. */
  readonly type: number
  /** Bytes of a record. */
  readonly size: number
  /** How many arguments a record has room for. */
  readonly maxArguments: number
  /** Whether programs can fetch from a sum of two registers; only newer headers can. */
  readonly indexed: boolean
}

const memberNames = (btf: Btf.Btf, id: number): ReadonlyMap<string, number> | undefined => {
  const type = Btf.typeOf(btf, Btf.resolveType(btf, id))
  return type._tag === "Struct" ? new Map(type.members.map(({ name, type }) => [name, type])) : undefined
}

const unfit = (detail: string): never =>
  refuse("Layout", detail, { hint: "the object must be compiled with libbpf's usdt.bpf.h, and keep its BTF" })

/** The layout of records of a type of the object: that of the values of the map `__bpf_usdt_specs`. */
export const layout = (btf: Btf.Btf, type: number): Result.Result<Layout, UsdtError> =>
  attempt(isUsdtError, () => {
    const members = memberNames(btf, type) ?? unfit(`the values of ${specsMap} are no structs`)
    for (const name of ["args", "usdt_cookie", "arg_cnt"]) {
      if (!members.has(name)) unfit(`the values of ${specsMap} have no member ${name}`)
    }
    const parts = Btf.typeOf(btf, Btf.resolveType(btf, members.get("args") ?? 0))
    if (parts._tag !== "Array") return unfit(`args of ${specsMap} is no array`)
    const ofPart = memberNames(btf, parts.type) ?? unfit(`args of ${specsMap} are no structs`)
    for (const name of ["val_off", "arg_type", "reg_off", "arg_signed", "arg_bitshift"]) {
      if (!ofPart.has(name)) unfit(`args of ${specsMap} have no member ${name}`)
    }
    const size = Btf.resolveSize(btf, type)
    if (Result.isFailure(size)) return unfit(size.failure.message)
    return {
      btf,
      type,
      size: size.success,
      maxArguments: parts.length,
      indexed: ofPart.has("idx_reg_off") && ofPart.has("scale_bitshift")
    }
  })

/** `enum __bpf_usdt_arg_type`. */
const ArgumentType = { Constant: 0, Register: 1, Memory: 2, Indexed: 3 } as const

/** What a probe is for one attachment. */
export interface Spec {
  readonly arguments: ReadonlyArray<Argument>
  /** What `bpf_usdt_cookie()` answers: 64 bits, unsigned. */
  readonly cookie: bigint
}

const locationValue = (
  layout: Layout,
  kernel: Architecture,
  location: Location,
  size: number,
  argument: number
): Readonly<Record<string, unknown>> => {
  const register = (name: string, bytes: number): number =>
    registerOffset(kernel, name, bytes) ??
      refuse("Register", `a kernel for ${kernel} does not tell of register ${name}`, { argument })
  switch (location._tag) {
    case "Constant":
      return { arg_type: ArgumentType.Constant, val_off: BigInt.asUintN(64, location.value) }
    case "Register":
      return { arg_type: ArgumentType.Register, reg_off: register(location.register, size) }
    case "Memory":
      return {
        arg_type: ArgumentType.Memory,
        val_off: BigInt.asUintN(64, location.offset),
        reg_off: register(location.base, 8)
      }
    case "Symbol":
      return refuse("Argument", `where ${location.symbol} is depends on the probe's own place`, {
        argument,
        hint: "replace it by its distance from the probe: Argument.relativeTo"
      })
    case "Indexed":
      if (!layout.indexed) {
        return refuse("OldLayout", "it is at the sum of two registers, which the object's usdt.bpf.h does not know", {
          argument,
          hint: "compile the object with usdt.bpf.h of libbpf 1.7 or newer"
        })
      }
      return {
        arg_type: ArgumentType.Indexed,
        val_off: BigInt.asUintN(64, location.offset),
        reg_off: register(location.base, 8),
        idx_reg_off: register(location.index, 8),
        scale_bitshift: Math.log2(location.scale)
      }
  }
}

/**
 * The bytes of a record, for programs under a kernel of this architecture. Refuses more arguments than the record has room for,
 * and locations that programs with this record cannot read.
 */
export const encode = (layout: Layout, kernel: Architecture, spec: Spec): Result.Result<Uint8Array, UsdtError> =>
  attempt(isUsdtError, () => {
    const { arguments: parts, cookie } = spec
    if (parts.length > layout.maxArguments) {
      refuse("TooManyArguments", `${parts.length} arguments, the object has room for ${layout.maxArguments}`)
    }
    const value = {
      args: parts.map(({ location, signed, size }, argument) => ({
        ...locationValue(layout, kernel, location, size, argument),
        arg_signed: signed,
        arg_bitshift: 64 - 8 * size
      })),
      usdt_cookie: BigInt.asUintN(64, cookie),
      arg_cnt: parts.length
    }
    const encoded = BtfValue.encode(layout.btf, layout.type, value)
    return Result.isSuccess(encoded) ? encoded.success : unfit(encoded.failure.message)
  })
