/**
 * The call that waits.
 */
import * as Effect from "effect/Effect"
import { MapType, mapTypeName } from "../abi/BpfConstants.ts"
import type { Wait } from "../calls/WaitCalls.ts"
import type { CallError } from "../KernelError.ts"
import type { Bound, Handlers } from "../Session.ts"
import { type Context, handleOf } from "./Context.ts"
import { attemptsOf, invalid } from "./Enter.ts"
import type { Handle } from "./Handle.ts"

/** The longest time that can be waited, milliseconds: 24 days. */
const longest = 0x7fff_ffff

/** A descriptor that can be waited for, by what it stands for. */
const descriptorOf = Effect.fnUntraced(function*(
  call: Wait,
  ref: Wait["refs"][number],
  bound: Bound<Handle>
): Effect.fn.Return<number, CallError> {
  if (ref._tag === "Event") {
    const event = yield* handleOf(bound, "Wait", ref)
    return call.for === "Read" ? event.fd : yield* invalid("Wait", event.name, "perf events are only read")
  }
  const { fd, name, shape } = yield* handleOf(bound, "Wait", ref)
  const type = call.for === "Read" ? MapType.BPF_MAP_TYPE_RINGBUF : MapType.BPF_MAP_TYPE_USER_RINGBUF
  if (shape.type === type) return fd
  const verb = call.for === "Read" ? "read from" : "written to"
  return yield* invalid("Wait", name, `a map of type ${mapTypeName(shape.type)} cannot be waited for to be ${verb}`)
})

/** The handler of the call that waits. */
export const handlers = ({ reactor }: Context): Pick<Handlers<Handle>, "Wait"> => ({
  Wait: Effect.fnUntraced(function*(call, bound) {
    const { refs, timeout } = call
    if (timeout !== undefined && !(timeout >= 0 && timeout <= longest)) {
      return yield* invalid("Wait", `${timeout} ms`, `a time to wait is 0 to ${longest} milliseconds`)
    }
    if (refs.length === 0 && timeout === undefined) {
      return yield* invalid("Wait", "nothing", "there is nothing to wait for, and no time after which to stop")
    }
    const fds = yield* Effect.forEach(refs, (ref) => descriptorOf(call, ref, bound))
    const subject = refs.map(({ _tag, index }) => `${_tag.toLowerCase()}#${index}`).join(", ")
    const result = yield* attemptsOf(bound).persist(undefined, reactor.wait(subject, fds, call.for, timeout))
    return { result }
  })
})
