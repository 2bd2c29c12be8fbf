/**
 * A kernel that is told what to answer to calls which attach, for kinds and errors that no kernel at hand has: it writes down
 * what it is asked, and has the programs of an object as though they were loaded.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Attachable } from "../../src/attach/Attach.ts"
import type { Btf } from "../../src/btf/Btf.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import type { KernelShape, Session } from "../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import { fromErrno } from "../../src/services/Kernel/KernelError.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { fixture } from "./Require.ts"

/** What is answered to a call: an error, or a value; nothing is `undefined`, which most calls answer. */
export type Script = (call: KernelCall) => Errno.Errno | { readonly value: unknown } | undefined

/** The kernel, the object, and the calls so far. */
export interface Scripted {
  readonly loaded: Attachable
  readonly kernel: KernelShape
  /** The calls as short texts: `LinkCreate link#1`, and what else a test wants to see of them. */
  readonly said: () => ReadonlyArray<string>
  readonly calls: ReadonlyArray<KernelCall>
}

/** What a kernel of a test knows of itself. */
export interface ScriptedOptions {
  readonly object?: string
  readonly edit?: (object: BpfObject) => BpfObject
  /** Features that it lacks. */
  readonly lacks?: ReadonlyArray<KernelInfo.Feature>
  readonly architecture?: string
  readonly types?: Btf
  readonly moduleTypes?: ReadonlyArray<KernelInfo.ModuleTypes>
}

const about = (call: KernelCall): string => {
  switch (call._tag) {
    case "LinkCreate":
      return ` ${call.of._tag.toLowerCase()} type ${call.attachType}`
    case "PerfEventSwitch":
      return call.on ? " on" : " off"
    case "PerfEventOpen":
      return ` ${call.source._tag}`
    case "Close":
      return ` ${call.ref._tag}`
    case "RawTracepointOpen":
      return ` ${call.name ?? "(no name)"}`
    case "SymbolListRead":
      return ` ${call.list}`
    default:
      return ""
  }
}

/** A kernel on a script. */
export const scripted = (script: Script, options: ScriptedOptions = {}): Scripted => {
  const { architecture = "x64", edit = (object) => object, lacks = [], moduleTypes, object = "section_kinds.bpf.o" } =
    options
  const opened = edit(Result.getOrThrow(Open.fromBytes(fixture(object), { path: object })))
  const calls: Array<KernelCall> = []
  let index = 100
  const call = (asked: KernelCall): Effect.Effect<unknown, unknown> =>
    Effect.suspend(() => {
      calls.push(asked)
      const answer = script(asked)
      return typeof answer === "string"
        ? Effect.fail(fromErrno(asked._tag, "a script", Errno.numbers[answer]))
        : Effect.succeed(answer?.value)
    })
  const session: Session = {
    id: Symbol("scripted"),
    concurrency: 1,
    call: call as Session["call"],
    adopt: () => Effect.die(new Error("not scripted")),
    fresh: ((kind: Ref.RefTag) => ({ _tag: kind, index: index++ })) as Session["fresh"],
    disown: (ref) => void calls.push({ _tag: "Close", ref: { ...ref, index: -1 } }),
    stamp: (ref) => ref,
    exists: () => true,
    view: () => undefined,
    commit: Effect.void,
    rollback: Effect.void
  }
  const positions = new Map(opened.programs.map(({ name }, position) => [name, position]))
  const loaded: Attachable = {
    object: opened,
    session,
    program: (name) => {
      const position = positions.get(name)
      return position === undefined ? undefined : Ref.prog(position)
    },
    structOps: new Map()
  }
  const kernel: KernelShape = {
    name: "scripted",
    info: Effect.succeed(KernelInfo.make({ release: "6.99.0", architecture, byteOrder: "little" })),
    ask: (requirements) =>
      Effect.succeed({
        features: new Map(requirements.flatMap((each) =>
          each._tag === "Feature"
            ? [[
              each.feature,
              KernelInfo.known(
                lacks.includes(each.feature) ? KernelInfo.unsupported("a script") : KernelInfo.supported
              )
            ]]
            : []
        )),
        ...(options.types === undefined ? {} : { vmlinuxTypes: KernelInfo.known(options.types) }),
        ...(moduleTypes === undefined ? {} : { moduleTypes: KernelInfo.known(moduleTypes) })
      }),
    session: () => Effect.succeed(session)
  }
  return { loaded, kernel, calls, said: () => calls.map((each) => `${each._tag}${about(each)}`) }
}

/** A perf type as kernels have it. */
export const pmu = { type: 8, returnBit: 0, hasCounter: true }
