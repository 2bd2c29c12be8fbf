/**
 * Loading programs: names become addresses of the simulated machine's memory, CO-RE records are applied, the code is
 * decoded once. There is no verifier. What is checked is what decoding checks (registers, reserved fields, targets of
 * jumps), the form of function and line records, and that what the program refers to exists.
 *
 * A helper or kernel function that nothing implements is no obstacle, for it may never be called: the log names it, where
 * one was asked for, and a call of it ends the run with an error that names it. Numbers that no helper has are refused.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import { helperCount, helperName } from "../../../insn/Helpers.ts"
import * as Insn from "../../../insn/Insn.ts"
import * as Core from "../../../stages/relocate/core/Core.ts"
import * as Lines from "../../../vm/Lines.ts"
import { decode } from "../../../vm/ProgramDecode.ts"
import type { Program } from "../../../vm/Program.ts"
import { ProgType } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import { kernelName } from "../abi/Name.ts"
import { type InfoRecords, isProgFunction, type ProgInfo, type ProgLoad } from "../KernelCall.ts"
import { type CallError, fromErrno, type KernelError, VerifierError } from "../KernelError.ts"
import type { Bound, Handlers } from "../Session.ts"
import { type Binding, bindMap, bindSymbol } from "./Bind.ts"
import type { Context } from "./Context.ts"
import { contextBytes } from "./ContextAccess.ts"
import { type BtfObject, type Handle, hold, type ProgObject, register } from "./Objects.ts"
import { isPoison } from "./Poison.ts"
import * as Refuse from "./Refuse.ts"
import { typeOf } from "./Symbols.ts"
import { progTag } from "./Tag.ts"
import * as ProgramDigest from "../ProgramDigest.ts"
import { shown } from "./Xlated.ts"

/** `BPF_COMPLEXITY_LIMIT_INSNS`: the most instructions of a program. */
const maximumInstructions = 1_000_000

/** Bytes of a license that the kernel reads, its NUL included. */
const maximumLicense = 128

/** The highest program type of Linux 6.18. */
const maximumType = ProgType.BPF_PROG_TYPE_NETFILTER

const gplCompatible: ReadonlySet<string> = new Set([
  "GPL",
  "GPL v2",
  "GPL and additional rights",
  "Dual BSD/GPL",
  "Dual MIT/GPL",
  "Dual MPL/GPL"
])

/** What the structural checks refuse, as the verifier would say it. */
const verifierError = (
  call: ProgLoad,
  summary: string,
  errno: Errno.Errno = "EINVAL",
  hint?: string
): VerifierError =>
  new VerifierError({
    program: call.attr.name,
    errno,
    errnoNumber: Errno.numbers[errno],
    log: summary,
    summary,
    ...(hint === undefined ? {} : { hint })
  })

/** An error's message without its hint, which stands by itself here. */
const sentence = (error: { readonly message: string }): string => error.message.split("\nhint: ")[0] ?? error.message

/** What is wrong with a call that the kernel would misread or refuse before it looks at instructions. */
const complaintOf = (call: ProgLoad): KernelError | undefined => {
  const { attr, code } = call
  const invalid = (hint: string) => Refuse.invalid("ProgLoad", attr.name, hint)
  if (code.insns.length === 0 || code.insns.length % 8 !== 0) {
    return invalid(`${code.insns.length} bytes are not a whole number of instructions`)
  }
  if (attr.license.includes("\0")) return invalid("the license contains a NUL character")
  if (attr.license.length >= maximumLicense) return invalid(`a license has fewer than ${maximumLicense} bytes`)
  for (const records of [call.funcInfo, call.lineInfo, code.coreRelocations]) {
    if (records !== undefined && (records.recordSize <= 0 || records.records.length % records.recordSize !== 0)) {
      return invalid(
        `${records.records.length} bytes are not a whole number of records of ${records.recordSize} bytes`
      )
    }
  }
  if (code.coreRelocations !== undefined && code.coreRelocations.records.length > 0) {
    const hasInfo = (call.funcInfo?.records.length ?? 0) > 0 || (call.lineInfo?.records.length ?? 0) > 0
    if (call.btf === undefined || !hasInfo) {
      return invalid("the kernel applies CO-RE records only to programs with BTF and function or line records")
    }
  }
  if (Insn.count(code.insns) > maximumInstructions) {
    return Refuse.refused(
      "ProgLoad",
      attr.name,
      "E2BIG",
      () => `a program has ${maximumInstructions} instructions at most`
    )
  }
  if (attr.type <= ProgType.BPF_PROG_TYPE_UNSPEC || attr.type > maximumType) {
    return invalid("the program has no type that is known: its section name says none")
  }
  return attr.ifindex === 0 ?
    undefined :
    Refuse.refused("ProgLoad", attr.name, "EINVAL", () => "the simulated devices run no programs themselves")
}

/** Checks that function records name functions, in order, from the first instruction on. */
const checkFuncInfo = (call: ProgLoad, btf: Btf.Btf, info: InfoRecords): VerifierError | undefined => {
  const { recordSize, records } = info
  if (recordSize < 8) return verifierError(call, `function records of ${recordSize} bytes are too short`)
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  let last = -1
  for (let at = 0; at < records.length; at += recordSize) {
    const slot = view.getUint32(at, true)
    if (last < 0 && slot !== 0) return verifierError(call, `nonzero insn_off ${slot} for the first func info record`)
    if (slot <= last) {
      return verifierError(call, `same or smaller insn offset (${slot}) than previous func info record (${last})`)
    }
    const type = view.getUint32(at + 4, true)
    if (!Btf.exists(btf, type) || Btf.kindOf(btf, type) !== Btf.BTF_KIND_FUNC) {
      return verifierError(call, `invalid type id ${type} in func info`)
    }
    last = slot
  }
  return undefined
}

/**
 * The code with its CO-RE records applied, where the kernel's types are known. Where they are not, the kernel is taken to be
 * the one that the object was compiled for: the compiler has put the values of its own types into the instructions.
 */
const relocated = (
  context: Context,
  call: ProgLoad,
  btf: BtfObject | undefined
): Result.Result<Uint8Array, CallError> => {
  const records = call.code.coreRelocations
  const target = records === undefined || records.records.length === 0 ? undefined : context.target()
  // A copy, and not `slice`: of a Buffer it would be a view, and the plan's code would change.
  if (records === undefined || btf === undefined || target === undefined) {
    return Result.succeed(new Uint8Array(call.code.insns))
  }
  const applied = Core.relocate(call.code.insns, records, btf.btf, target)
  return Result.mapBoth(applied, {
    onSuccess: ({ insns }) => insns,
    onFailure: (error) => verifierError(call, sentence(error), "EINVAL", error.hint)
  })
}

/** Refuses a program that uses a map which another has to itself, in the kernel's words. */
const isStranger = (call: ProgLoad, { maps }: Binding): VerifierError | undefined => {
  const exclusive = [...maps].flatMap(({ exclusiveTo }) => exclusiveTo === undefined ? [] : [exclusiveTo])
  if (exclusive.length === 0) return undefined
  const digest = ProgramDigest.of(call.code)
  const isOwner = Result.isSuccess(digest) &&
    exclusive.every((hash) =>
      hash.length === digest.success.length && hash.every((byte, at) => byte === digest.success[at])
    )
  return isOwner ? undefined : verifierError(
    call,
    "program's hash doesn't match map's excl_prog_hash",
    "EACCES",
    "the map was made for another program, or for this one before its instructions changed"
  )
}

/** Names the helpers that nothing implements; those that no kernel has are refused. */
const checkHelpers = (binding: Binding): VerifierError | undefined => {
  const { call, context, insns } = binding
  for (let slot = 0; slot < Insn.count(insns); slot = Insn.nextSlot(insns, slot)) {
    if (!Insn.isHelperCall(insns, slot)) continue
    const id = Insn.imm(insns, slot)
    if (isPoison(id)) continue
    if (id <= 0 || id >= helperCount) {
      return verifierError(
        call,
        `instruction ${slot}: invalid func unknown#${id}`,
        "EINVAL",
        "no kernel has this helper"
      )
    }
    const name = helperName(id) ?? `helper ${id}`
    if (!context.helpers.has(name)) binding.missing.add(name)
  }
  return undefined
}

/** Why a program cannot be for this function of another: that one has no types, or no such function. */
const missingFunction = (name: string, target: ProgObject, wanted: string): CallError | undefined => {
  if (target.btf === undefined) {
    return fromErrno("ProgLoad", name, Errno.numbers.EINVAL, {
      hint: `the target program ${target.name} was loaded without BTF, so its functions have no names`
    })
  }
  const { btf } = target.btf
  const { recordSize, records } = target.info.funcInfo
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  const names: Array<string> = []
  for (let at = 0; at + 8 <= records.length; at += recordSize) names.push(Btf.nameOf(btf, view.getUint32(at + 4, true)))
  if (names.includes(wanted)) return undefined
  const has = names.length === 0 ? "none is known" : `it has ${names.slice(0, 20).join(", ")}`
  return fromErrno("ProgLoad", name, Errno.numbers.ESRCH, {
    hint: `the target program ${target.name} has no function ${wanted}; ${has}`
  })
}

/** Everything of a program but its place in the kernel. */
const prepare = (
  context: Context,
  call: ProgLoad,
  bound: Bound<Handle>
): Result.Result<{ readonly object: ProgObject; readonly log: string }, CallError> =>
  Result.gen(function*() {
    const { attr } = call
    if (call.fdArray !== undefined || call.signature !== undefined) {
      return yield* Result.fail(Refuse.unsupported("ProgLoad", "takes no maps by position, and checks no signatures"))
    }
    const complaint = complaintOf(call)
    if (complaint !== undefined) return yield* Result.fail(complaint)
    const btf = call.btf && Refuse.optionalHandleOf(bound, call.btf)
    if (call.code.coreRelocations !== undefined && call.btf !== undefined && btf === undefined) {
      const hint = "its CO-RE records need the object's BTF, which the kernel did not take"
      return yield* Result.fail(Refuse.invalid("ProgLoad", attr.name, hint))
    }
    const { attachTo } = call
    if (attachTo !== undefined && isProgFunction(attachTo)) {
      const missing = yield* Result.map(
        Refuse.handleOf(bound, "ProgLoad", attachTo.program),
        (target) => missingFunction(attr.name, target, attachTo.function)
      )
      if (missing !== undefined) return yield* Result.fail(missing)
    } else if (
      attachTo !== undefined && !attachTo.weak && context.world.types !== undefined &&
      attachTo.resolved === undefined && typeOf(context, attachTo) === undefined
    ) {
      const what = attachTo.kind === "Func" ? "function" : "type"
      return yield* Result.fail(
        fromErrno("ProgLoad", attr.name, Errno.numbers.ESRCH, {
          hint: `the kernel has no ${what} ${attachTo.name} to attach to`
        })
      )
    }
    let lines: Lines.LineTable | undefined
    if (btf !== undefined && call.lineInfo !== undefined) {
      lines = yield* Result.mapError(Lines.lineTable(call.lineInfo, btf.btf), (error) =>
        verifierError(call, error.message))
    }
    const badFunction = btf && call.funcInfo && checkFuncInfo(call, btf.btf, call.funcInfo)
    if (badFunction !== undefined) {
      return yield* Result.fail(badFunction)
    }

    const insns = yield* relocated(context, call, btf)
    const digested = new Uint8Array(insns)
    const binding: Binding = { context, call, bound, insns, digested, maps: new Set(), missing: new Set() }
    for (const ref of call.code.refs) {
      const failure = ref._tag === "SymbolRef" ? bindSymbol(binding, ref) : bindMap(binding, ref)
      if (failure !== undefined) {
        return yield* Result.fail(failure)
      }
    }
    const stranger = isStranger(call, binding)
    if (stranger !== undefined) {
      return yield* Result.fail(stranger)
    }
    const table = lines
    const program: Program = yield* Result.mapError(
      decode(insns, {
        name: attr.name,
        ...(table === undefined ? {} : {
          lineAt: (slot: number) =>
            Lines.showLine(Lines.sourceLine(table, slot))
        })
      }),
      (error) => verifierError(call, error.message, "EINVAL", error.hint)
    )
    const badHelper = checkHelpers(binding)
    if (badHelper !== undefined) return yield* Result.fail(badHelper)
    const info: ProgObject["info"] = {
      type: attr.type,
      name: kernelName(attr.name),
      tag: progTag(digested),
      gplCompatible: gplCompatible.has(attr.license),
      xlatedLength: insns.length,
      jitedLength: 0,
      funcInfo: btf === undefined || call.funcInfo === undefined ? noRecords(8) : copied(call.funcInfo, 8),
      lineInfo: btf === undefined || call.lineInfo === undefined ? noRecords(16) : copied(call.lineInfo, 16),
      verifiedInstructions: 0,
      loadTime,
      createdByUid: 0,
      ifindex: attr.ifindex,
      runTime: 0n,
      runCount: 0n,
      recursionMisses: 0n,
      attachBtfObjectId: 0,
      attachBtfId: 0,
      instructions: shown(insns, call.code.refs, (ref) => Refuse.optionalHandleOf(bound, ref)?.id)
    }
    const object: ProgObject = {
      _tag: "Prog",
      id: context.ids.Prog++,
      name: attr.name,
      attr,
      program,
      contextBytes: contextBytes(insns),
      host: undefined,
      lines,
      btf,
      maps: binding.maps,
      info,
      references: 1,
      users: 1
    }
    const log = [...binding.missing].map((name) => `${name} is not simulated: a call of it ends the run\n`).join("")
    return { object, log: call.log.level > 0 ? log : "" }
  })

/** What every simulated program says of its load: that it was a second after boot, when the machine's clock begins. */
const loadTime = 1_000_000_000n

const noRecords = (recordSize: number): InfoRecords => ({ recordSize, records: new Uint8Array(0) })

/** Records as the kernel hands them out: of the length that it knows, whatever the object's had. */
const copied = ({ recordSize, records }: InfoRecords, known: number): ProgInfo["funcInfo"] => {
  if (recordSize === known) return { recordSize, records: records.slice() }
  const count = records.length / recordSize
  const short = new Uint8Array(count * known)
  for (let index = 0; index < count; index++) {
    short.set(records.subarray(index * recordSize, index * recordSize + Math.min(known, recordSize)), index * known)
  }
  return { recordSize: known, records: short }
}

/** The handler of `ProgLoad`. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "ProgLoad"> => ({
  ProgLoad: (call, bound) =>
    Refuse.once(bound, () =>
      Result.map(prepare(context, call, bound), ({ log, object }) => {
        for (const map of object.maps) hold(map, "kernel")
        if (object.btf !== undefined) hold(object.btf, "kernel")
        if (context.world.coverage) context.covered.push(object)
        return { result: { log }, handle: register(context.objects, object) }
      }))
})
