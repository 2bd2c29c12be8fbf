/**
 * Answers to what pure stages ask of the running kernel.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import {
  type Answers,
  type Fact,
  type Feature,
  type KconfigValue,
  known,
  type Requirement,
  type Support,
  type SymbolAddress
} from "../KernelInfo.ts"
import type { Sys } from "../sys/Sys.ts"
import type { Facts } from "./Facts.ts"
import type { Features } from "./Features.ts"
import { general } from "./Hints.ts"
import { firstLogSize } from "./LoadLog.ts"

/**
 * Loads an unattached program and closes it again: the log that the verifier wrote, `undefined` when it took the
 * program, or the error when it never looked at it.
 */
export const tryProgram = (
  sys: Sys,
  call: string,
  type: number,
  insns: Uint8Array
): Result.Result<string | undefined, KernelError> =>
  Result.gen(function*() {
    const arena = yield* Result.mapError(
      Arena.make(Attr.ProgLoad, {
        prog_type: type,
        insn_cnt: insns.length / 8,
        insns: Arena.bytes(insns),
        license: Arena.text("GPL"),
        log_level: 1,
        log_size: firstLogSize,
        log_buf: Arena.room(firstLogSize)
      }),
      (error) => fromErrno(call, "a probe", Errno.numbers.EINVAL, { hint: error.message })
    )
    const result = sys.bpfDescriptor(Command.BPF_PROG_LOAD, arena)
    if (result >= 0) {
      sys.close(result)
      return undefined
    }
    const log = Arena.cString(Arena.region(arena, "log_buf"))
    if (log !== "") return log
    const hint = general(Errno.fromNumber(-result))
    return yield* Result.fail(fromErrno(call, "a probe", -result, hint === undefined ? {} : { hint }))
  })

/** Answers requirements. Features are found out once: what is certain stays certain. */
export const make = (
  sys: () => Result.Result<Sys, KernelError>,
  facts: Facts,
  features: Features
): (requirements: ReadonlyArray<Requirement>) => Effect.Effect<Answers, KernelError> =>
(requirements) => Effect.suspend(() => Effect.fromResult(answer(sys, facts, features, requirements)))

/** Answers each requirement as a known fact, or fails with what is in the way of the first that cannot be answered. */
const answer = (
  sys: () => Result.Result<Sys, KernelError>,
  facts: Facts,
  { feature }: Features,
  requirements: ReadonlyArray<Requirement>
): Result.Result<Answers, KernelError> =>
  Result.gen(function*() {
    const kconfig = new Map<string, Fact<KconfigValue>>()
    const features = new Map<Feature, Fact<Support>>()
    const symbols = new Map<string, Fact<SymbolAddress>>()
    const single: { -readonly [K in keyof Answers]: Answers[K] } = {}
    const names = requirements.flatMap((requirement) => requirement._tag === "Symbol" ? [requirement.name] : [])
    for (const requirement of requirements) {
      switch (requirement._tag) {
        case "PageSize":
          single.pageSize = known((yield* sys()).pageSize)
          break
        case "PossibleCpus":
          single.possibleCpus = known(yield* facts.possibleCpus())
          break
        case "KernelVersion":
          single.kernelVersion = known(yield* facts.kernelVersion())
          break
        case "VmlinuxTypes":
          single.vmlinuxTypes = known(yield* facts.vmlinux())
          break
        case "ModuleTypes":
          single.moduleTypes = known(facts.allModules())
          break
        case "Kconfig":
          kconfig.set(requirement.key, known((yield* facts.kconfig()).get(requirement.key)))
          break
        case "Feature":
          features.set(requirement.feature, known(yield* feature(requirement.feature)))
          break
        case "Symbol":
          // All are looked up below, at once.
          break
      }
    }
    if (names.length > 0) {
      for (const [name, address] of (yield* facts.addresses(names)).of) symbols.set(name, known(address))
    }
    return {
      ...single,
      ...(kconfig.size === 0 ? {} : { kconfig }),
      ...(features.size === 0 ? {} : { features }),
      ...(symbols.size === 0 ? {} : { symbols })
    }
  })
