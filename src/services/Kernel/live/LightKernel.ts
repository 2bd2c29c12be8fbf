/**
 * The kernel of this process for programs that bring their objects along as loaders: the same sessions as the live kernel's,
 * without what looks things up in types. It answers what a machine is like (page size, CPUs); programs that name symbols of
 * the kernel, or functions of other programs, are refused: loaders look those up themselves.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Os from "node:os"
import { hostIsLittle } from "../abi/Arena.ts"
import * as Errno from "../abi/Errno.ts"
import type { KernelShape } from "../Kernel.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import * as KernelInfo from "../KernelInfo.ts"
import * as Session from "../Session.ts"
import * as Epoll from "../sys/Epoll.ts"
import * as Net from "../sys/Net.ts"
import type { Unavailable } from "../sys/Platform.ts"
import * as Sys from "../sys/Sys.ts"
import { backendOf, maximumWaiting } from "./Backend.ts"
import type { Context } from "./Context.ts"
import { countCpus } from "./CpuList.ts"
import { enterAsync } from "./Enter.ts"
import { machine } from "./Files.ts"
import * as Memlock from "./Memlock.ts"
import * as Reactor from "./Reactor.ts"
import * as Token from "./Token.ts"

const unavailable = (error: Unavailable): KernelError =>
  fromErrno("session", "the live kernel", Errno.numbers.ENOSYS, { hint: `${error.detail}; ${error.hint}` })

/** Where the kernel lists the CPUs that there may be. */
const CPUS = "/sys/devices/system/cpu/possible"

/** More than any list of CPUs has, bytes. */
const maximumList = 65_536

const possibleCpus = (): Result.Result<number, KernelError> => {
  const text = Result.mapError(machine.read(CPUS, maximumList), (errno) => fromErrno("PossibleCpus", CPUS, errno))
  return Result.flatMap(text, (bytes) => {
    const count = countCpus(new TextDecoder().decode(bytes))
    return count === undefined
      ? Result.fail(fromErrno("PossibleCpus", CPUS, Errno.numbers.EBADMSG, { hint: "the file is no list of CPUs" }))
      : Result.succeed(count)
  })
}

/** What needs types is for the whole kernel. */
const withoutTypes = (call: string, subject: string): KernelError =>
  fromErrno(call, subject, Errno.numbers.EOPNOTSUPP, {
    hint: "this kernel looks nothing up in types: use KernelLive of effect-bpf/node"
  })

/** The kernel of this process. Nothing is loaded or read yet. */
export const make: Effect.Effect<KernelShape> = Effect.sync(() => {
  const gate = Semaphore.makeUnsafe(maximumWaiting)
  let bound: Result.Result<Sys.Sys, KernelError> | undefined
  const sys = () => bound ??= Result.mapError(Sys.make(), unavailable)
  let netlink: Result.Result<Net.Net, KernelError> | undefined
  const net = () => netlink ??= Result.mapError(Net.make(), unavailable)
  let waiting: Result.Result<Epoll.Epoll, KernelError> | undefined
  const reactors = Reactor.make(() => waiting ??= Result.mapError(Epoll.make(), unavailable))
  // Kernels that count maps against a limit of the process are older than loaders.
  const memlock = Memlock.make("leave", () => true)
  const answer = (requirement: KernelInfo.Requirement): Effect.Effect<KernelInfo.Answers, KernelError> => {
    switch (requirement._tag) {
      case "PageSize":
        return Effect.map(Effect.fromResult(sys()), ({ pageSize }) => ({ pageSize: KernelInfo.known(pageSize) }))
      case "PossibleCpus":
        return Effect.map(Effect.fromResult(possibleCpus()), (cpus) => ({ possibleCpus: KernelInfo.known(cpus) }))
      default:
        return Effect.fail(withoutTypes("ask", KernelInfo.describe(requirement)))
    }
  }
  return {
    name: "live",
    info: Effect.sync(() =>
      KernelInfo.make({
        release: Os.release(),
        architecture: process.arch,
        byteOrder: hostIsLittle ? "little" : "big"
      })
    ),
    ask: (requirements) =>
      Effect.map(
        Effect.forEach(requirements, answer),
        (answers) => Object.assign({}, ...answers) as KernelInfo.Answers
      ),
    session: Effect.fnUntraced(function*(options) {
      const opened = yield* Token.wanted(yield* Effect.fromResult(sys()), options?.token)
      const context: Context = {
        sys: opened,
        enterAsync: (request) => gate.withPermit(enterAsync(opened, request)),
        possibleCpus,
        targets: (program, symbols) =>
          symbols.length === 0
            ? Effect.succeed(() => undefined)
            : Effect.fail(withoutTypes("ProgLoad", program)),
        functionOf: (program) => Effect.fail(withoutTypes("ProgLoad", program)),
        mapNames: new Map(),
        files: machine,
        net,
        reactor: yield* reactors.session
      }
      // What a type of program is to the kernel is not asked: that takes the probes of features with it.
      const sources = { sys: opened, files: machine, memlock, hasProgramType: () => undefined }
      return yield* Session.make(backendOf(context, sources), options)
    })
  }
})
