/**
 * The calls on loaded programs.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Bound, Handlers, Performed } from "../Session.ts"
import type { Context } from "./Context.ts"
import { type Handle, hold } from "./Objects.ts"
import * as Refuse from "./Refuse.ts"
import { testRun } from "./TestRun.ts"

const done: Performed<Handle, void> = { result: undefined }

/** The handlers of the calls on loaded programs. */
export const handlers = (
  context: Context
): Pick<
  Handlers<Handle>,
  "ProgBindMap" | "ProgTestRun" | "LoaderRun" | "ProgGetInfo" | "ProgStreamRead" | "StatsEnable"
> => ({
  ProgBindMap: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const prog = yield* Refuse.handleOf(bound, "ProgBindMap", call.prog)
        const map = yield* Refuse.handleOf(bound, "ProgBindMap", call.map)
        if (!prog.maps.has(map)) {
          prog.maps.add(map)
          hold(map, "kernel")
        }
        return done
      })),

  ProgTestRun: (call, bound: Bound<Handle>) =>
    bound.attempt(
      0,
      undefined,
      Effect.flatMap(Effect.fromResult(Refuse.handleOf(bound, "ProgTestRun", call.prog)), (prog) =>
        Effect.map(testRun(context, call, prog), (result) => ({ result })))
    ),

  LoaderRun: (_, bound) =>
    Refuse.once(bound, () =>
      Result.fail(Refuse.unsupported(
        "LoaderRun",
        "has no programs that make kernel calls",
        "replay the loader: that makes its calls in its place (RunLoader does so by itself)"
      ))),

  ProgStreamRead: (_, bound) =>
    Refuse.once(bound, () =>
      Result.fail(Refuse.unsupported(
        "ProgStreamRead",
        "gives programs no streams to print to",
        "let programs print with bpf_printk, whose lines the simulated kernel keeps, or load them on the live kernel"
      ))),

  StatsEnable: (_, bound) =>
    Refuse.once(bound, () =>
      Result.fail(Refuse.unsupported(
        "StatsEnable",
        "runs programs in this process, where their time is not the kernel's",
        "measure on the live kernel; how often each instruction ran is told by coverage"
      ))),

  ProgGetInfo: (call, bound) =>
    Refuse.once(bound, () =>
      Result.map(Refuse.handleOf(bound, "ProgGetInfo", call.prog), (prog) => {
        const { instructions, ...info } = prog.info
        return {
          result: {
            ...info,
            id: prog.id,
            btfId: prog.btf?.id ?? 0,
            mapIds: [...prog.maps].map((map) => map.id),
            ...(call.instructions === true && instructions !== undefined
              ? { instructions: instructions.slice(), jitedSymbols: [] }
              : {}),
            ...(call.file === true ? { file: { memlock: 0n } } : {})
          }
        }
      }))
})
