/**
 * Loading programs: names become descriptors and ids, the verifier decides, and what it says is read for the user.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as VerifierLog from "../../../diagnostics/VerifierLog.ts"
import * as Insn from "../../../insn/Insn.ts"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command, PROG_LOAD_ATTEMPTS } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import { type InfoRecords, isProgFunction, type KernelSymbol, type ProgLoad } from "../KernelCall.ts"
import { type CallError, fromErrno, type KernelError, VerifierError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Bound, Handlers, Performed } from "../Session.ts"
import { bind, type BindError, type BoundCode, type Target } from "./Bind.ts"
import { type Context, handleOf, optionalHandleOf, type Targets } from "./Context.ts"
import { attemptsOf, invalid, type Patience, patience, refused } from "./Enter.ts"
import type { Handle } from "./Handle.ts"
import * as Hints from "./Hints.ts"
import * as LoadLog from "./LoadLog.ts"
import { kernelName } from "./Name.ts"
import * as ShorterRecords from "./ShorterRecords.ts"

const loadPatience: Patience = { ...patience, EAGAIN: PROG_LOAD_ATTEMPTS }

/** The kernel symbols that a program's code and its attachment mention. */
const symbolsOf = (call: ProgLoad): ReadonlyArray<KernelSymbol> => {
  const symbols = call.code.refs.flatMap((ref) => ref._tag === "SymbolRef" ? [ref.symbol] : [])
  return call.attachTo === undefined || isProgFunction(call.attachTo) ? symbols : [...symbols, call.attachTo]
}

/** What is wrong with a call that the kernel would misread. */
const complaintOf = (call: ProgLoad): string | undefined => {
  const { attr, code } = call
  if (code.insns.length === 0 || code.insns.length % 8 !== 0) {
    return `${code.insns.length} bytes are not a whole number of instructions`
  }
  if (attr.license.includes("\0")) return "the license contains a NUL character"
  if (call.fdArray !== undefined && code.refs.some(({ _tag }) => _tag === "SymbolRef")) {
    return "maps by position and kernel symbols cannot be had together: both would fill fd_array"
  }
  if (call.signature !== undefined && code.refs.length > 0) {
    return "the instructions of a signed program are what was signed: nothing can be put into them"
  }
  for (const records of [call.funcInfo, call.lineInfo, code.coreRelocations]) {
    if (records !== undefined && (records.recordSize <= 0 || records.records.length % records.recordSize !== 0)) {
      return `${records.records.length} bytes are not a whole number of records of ${records.recordSize} bytes`
    }
  }
  if (code.coreRelocations !== undefined && code.coreRelocations.records.length > 0) {
    // Without these the kernel ignores the records, and the program would read wrong offsets.
    const hasInfo = (call.funcInfo?.records.length ?? 0) > 0 || (call.lineInfo?.records.length ?? 0) > 0
    if (call.btf === undefined || !hasInfo) {
      return "the kernel applies CO-RE records only to programs with BTF and function or line records"
    }
  }
  return undefined
}

/** A reference that cannot be bound, as the kernel would say it. */
const bindRefused = (call: ProgLoad, error: BindError): KernelError =>
  error.reason === "Missing"
    ? refused("ProgLoad", call.attr.name, Errno.numbers.ESRCH, {
      hint: `${error.message}; declare it __weak to do without it`
    })
    : invalid("ProgLoad", call.attr.name, error.message)

/** Whom a program is for, as the kernel identifies it. */
interface AttachValues {
  readonly attach_btf_id?: number
  /** A program, or the BTF of a module. */
  readonly attach_prog_fd?: number
}

/** The attach target as the kernel identifies it: a type of vmlinux, or of the module of this descriptor. */
const symbolValues = (
  call: ProgLoad,
  symbol: KernelSymbol,
  target: Target | undefined
): Result.Result<AttachValues, KernelError> => {
  if (target?._tag === "Type") {
    return Result.succeed({
      attach_btf_id: target.id,
      ...(target.moduleFd === undefined ? {} : { attach_prog_fd: target.moduleFd })
    })
  }
  if (target === undefined && symbol.weak) return Result.succeed({})
  return Result.fail(
    target === undefined
      ? refused("ProgLoad", call.attr.name, Errno.numbers.ESRCH, {
        reason: "AttachTarget",
        hint: `the kernel has no ${symbol.kind === "Func" ? "function" : "type"} ${symbol.name} to attach to`
      })
      : invalid("ProgLoad", call.attr.name, `${symbol.name} is an address; programs attach to types`)
  )
}

/** The attach target as the kernel identifies it. */
const attachValues = (
  context: Context,
  call: ProgLoad,
  bound: Bound<Handle>,
  targetOf: Targets
): Effect.Effect<AttachValues, CallError> => {
  const { attachTo } = call
  if (attachTo === undefined) return Effect.succeed({})
  return isProgFunction(attachTo)
    ? Effect.flatMap(
      handleOf(bound, "ProgLoad", attachTo.program),
      (target) => context.functionOf(call.attr.name, target, attachTo.function)
    )
    : Effect.fromResult(symbolValues(call, attachTo, targetOf(attachTo)))
}

/** Records as the attribute takes them: where they are, how many, how long each. */
const recordCount = (records: InfoRecords): number => records.records.length / records.recordSize

/** The types that a program's records name, and the records: without the types they mean nothing. */
const recordValues = (
  bound: Bound<Handle>,
  call: ProgLoad,
  { funcInfo, lineInfo }: { readonly funcInfo?: InfoRecords | undefined; readonly lineInfo?: InfoRecords | undefined }
): Arena.Values<typeof Attr.ProgLoad> => {
  const btf = call.btf && optionalHandleOf(bound, call.btf)
  if (btf === undefined) return {}
  return {
    prog_btf_fd: btf.fd,
    ...(funcInfo === undefined ? {} : {
      func_info: Arena.bytes(funcInfo.records),
      func_info_cnt: recordCount(funcInfo),
      func_info_rec_size: funcInfo.recordSize
    }),
    ...(lineInfo === undefined ? {} : {
      line_info: Arena.bytes(lineInfo.records),
      line_info_cnt: recordCount(lineInfo),
      line_info_rec_size: lineInfo.recordSize
    })
  }
}

/** Everything of `BPF_PROG_LOAD` but the log. */
const valuesOf = (
  bound: Bound<Handle>,
  call: ProgLoad,
  code: BoundCode,
  attach: AttachValues
): Arena.Values<typeof Attr.ProgLoad> => {
  const { attr } = call
  const { coreRelocations } = call.code
  return {
    prog_type: attr.type,
    insn_cnt: Insn.count(code.insns),
    insns: Arena.bytes(Insn.toByteOrder(code.insns, Arena.hostIsLittle ? "little" : "big")),
    license: Arena.text(attr.license),
    kern_version: attr.kernelVersion,
    prog_flags: attr.flags,
    prog_name: kernelName(attr.name),
    prog_ifindex: attr.ifindex,
    expected_attach_type: attr.expectedAttachType,
    ...attach,
    ...recordValues(bound, call, call),
    ...(coreRelocations === undefined || coreRelocations.records.length === 0 ? {} : {
      core_relos: Arena.bytes(coreRelocations.records),
      core_relo_cnt: recordCount(coreRelocations),
      core_relo_rec_size: coreRelocations.recordSize
    }),
    ...(code.fdArray.length === 0 ? {} : {
      fd_array: Arena.bytes(new Uint8Array(Int32Array.from(code.fdArray).buffer))
    }),
    ...(call.signature === undefined ? {} : {
      signature: Arena.bytes(call.signature.bytes),
      signature_size: call.signature.bytes.length,
      keyring_id: call.signature.keyring,
      // What is signed is also what the maps hold, so the kernel must know how many there are.
      fd_array_cnt: code.fdArray.length
    })
  }
}

/** What a poisoned instruction stands for, by name, as far as the call says it. */
const nameOf = (context: Context, call: ProgLoad) => (poison: VerifierLog.Poison): string | undefined => {
  if (poison.kind === "Map") return context.mapNames.get(Ref.key(Ref.map(poison.index)))
  const ref = call.code.refs.find((ref) => ref._tag === "SymbolRef" && ref.at === poison.at)
  return ref?._tag === "SymbolRef" ? ref.symbol.name : undefined
}

/** The verifier's refusal. */
const verifierError = (context: Context, call: ProgLoad, error: KernelError, raw: string): VerifierError => {
  const log = VerifierLog.explain(raw, nameOf(context, call))
  const hint = VerifierLog.meaning(log) ?? error.hint
  return new VerifierError({
    program: call.attr.name,
    errno: error.errno,
    errnoNumber: error.errnoNumber,
    log,
    summary: VerifierLog.summarise(log),
    ...(hint === undefined ? {} : { hint })
  })
}

/** The handler of `ProgLoad`. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "ProgLoad"> => {
  const load = Effect.fnUntraced(function*(call: ProgLoad, bound: Bound<Handle>) {
    const { name } = call.attr
    const complaint = complaintOf(call)
    if (complaint !== undefined) return yield* invalid("ProgLoad", name, complaint)
    const targetOf = yield* context.targets(name, symbolsOf(call))
    const mapFd = (map: Ref.MapRef): number | undefined => optionalHandleOf(bound, map)?.fd
    if (call.code.coreRelocations !== undefined && call.btf !== undefined && !bound.resolve(call.btf)) {
      return yield* invalid("ProgLoad", name, "its CO-RE records need the object's BTF, which the kernel did not take")
    }
    const boundCode = yield* Effect.fromResult(
      Result.mapError(bind(call.code, mapFd, targetOf), (error) => bindRefused(call, error))
    )
    const code = call.fdArray === undefined
      ? boundCode
      : { insns: boundCode.insns, fdArray: call.fdArray.map((map) => mapFd(map) ?? 0) }
    const attach = yield* attachValues(context, call, bound, targetOf)
    let sent = ShorterRecords.whole(call)
    let values = valuesOf(bound, call, code, attach)
    const outcome = yield* LoadLog.load(
      attemptsOf(bound),
      loadPatience,
      call.log.level,
      ({ level, size }) =>
        Effect.map(
          context.enterAsync({
            call: "ProgLoad",
            subject: name,
            command: Command.BPF_PROG_LOAD,
            layout: Attr.ProgLoad,
            answer: "Descriptor",
            accept: "All",
            values: { ...values, log_level: level, log_size: size, log_buf: Arena.room(size) }
          }),
          ({ arena, result }) => {
            const next = ShorterRecords.after(sent, result, arena)
            if (next !== undefined) {
              sent = next.sent
              const records = { funcInfo: sent.funcInfo.records, lineInfo: sent.lineInfo.records }
              values = { ...values, ...recordValues(bound, call, records) }
            }
            return {
              result,
              log: Arena.region(arena, "log_buf"),
              trueSize: Arena.field(arena, "log_true_size"),
              adapted: next?.because
            }
          }
        ),
      (errnoNumber, log) => {
        const hint = Hints.progLoad(call.attr, log)(Errno.fromNumber(errnoNumber))
        return fromErrno("ProgLoad", name, errnoNumber, hint === undefined ? {} : { hint })
      }
    )
    if (outcome._tag === "Refused") return yield* verifierError(context, call, outcome.error, outcome.log)
    const handle: Handle = { _tag: "Prog", fd: outcome.descriptor, name, type: call.attr.type }
    return { result: { log: outcome.log }, handle }
  })

  return {
    // Descriptors of module BTF are needed until the kernel has answered.
    ProgLoad: (call, bound): Effect.Effect<Performed<Handle, { readonly log: string }>, CallError> =>
      Effect.scoped(load(call, bound))
  }
}
