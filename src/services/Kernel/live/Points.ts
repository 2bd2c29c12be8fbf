/**
 * Attach points and neighbours as the kernel is told of them: by numbers of descriptors and devices.
 */
import * as Effect from "effect/Effect"
import { AttachFlag } from "../abi/BpfConstants.ts"
import type { AttachPoint, LinkOptions, Neighbour } from "../calls/LinkCalls.ts"
import type { CallTag } from "../KernelCall.ts"
import type { CallError } from "../KernelError.ts"
import type { Bound } from "../Session.ts"
import * as Net from "../sys/Net.ts"
import type { Sys } from "../sys/Sys.ts"
import { type Context, handleOf } from "./Context.ts"
import type { Handle } from "./Handle.ts"

/** The number of an attach point. */
export interface PointNumber {
  readonly number: number
  readonly isDescriptor: boolean
}

/** Where something is attached. */
export const point = Effect.fnUntraced(function*(
  bound: Bound<Handle>,
  call: CallTag,
  target: AttachPoint
): Effect.fn.Return<PointNumber, CallError> {
  switch (target._tag) {
    case "None":
      return { number: 0, isDescriptor: false }
    case "Device":
      return { number: target.ifindex, isDescriptor: false }
    case "Target":
      return { number: (yield* handleOf(bound, call, target.target)).fd, isDescriptor: true }
    case "Map":
      return { number: (yield* handleOf(bound, call, target.map)).fd, isDescriptor: true }
    case "Event":
      return { number: (yield* handleOf(bound, call, target.event)).fd, isDescriptor: true }
    case "Function":
      return { number: (yield* handleOf(bound, call, target.of.program)).fd, isDescriptor: true }
  }
})

/** The system calls in the network namespace that an attach point or options name, and the descriptor of that namespace. */
export const systemOf = Effect.fnUntraced(function*(
  { net, sys }: Context,
  bound: Bound<Handle>,
  call: CallTag,
  of: AttachPoint | LinkOptions | undefined
): Effect.fn.Return<{ readonly sys: Sys; readonly netns: number | undefined }, CallError> {
  const ref = of?._tag === "Device" || of?._tag === "Netfilter" ? of.netns : undefined
  if (ref === undefined) return { sys, netns: undefined }
  const { fd } = yield* handleOf(bound, call, ref)
  return { sys: Net.systemIn(yield* Effect.fromResult(net()), sys, fd), netns: fd }
})

/** Beside whom it is placed, and the flags that say what kind of number that is. */
export const neighbour = Effect.fnUntraced(function*(
  bound: Bound<Handle>,
  call: CallTag,
  beside: Neighbour | undefined
): Effect.fn.Return<{ readonly number: number; readonly flags: number }, CallError> {
  switch (beside?._tag) {
    case undefined:
      return { number: 0, flags: 0 }
    case "ProgId":
      return { number: beside.id, flags: AttachFlag.BPF_F_ID }
    case "LinkId":
      return { number: beside.id, flags: AttachFlag.BPF_F_ID | AttachFlag.BPF_F_LINK }
    case "Prog":
      return { number: (yield* handleOf(bound, call, beside)).fd, flags: 0 }
    case "Link":
      return { number: (yield* handleOf(bound, call, beside)).fd, flags: AttachFlag.BPF_F_LINK }
  }
})
