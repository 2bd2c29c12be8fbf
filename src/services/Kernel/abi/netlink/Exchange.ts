/**
 * A request and its answers, as a value that takes datagrams until the kernel has said all.
 *
 * Every request asks for an acknowledgement, so that its end is known: an error number (0 is success) after the answers, or the
 * end of a list. Messages of other requests are left out.
 */
import * as Result from "effect/Result"
import * as Message from "./Message.ts"

/** A request without what an exchange gives it: sequence number and flags that all have. */
export interface Request {
  /** `RTM_*` */
  readonly type: number
  /** `NLM_F_*` besides `REQUEST` and `ACK`. */
  readonly flags: number
  readonly payload: Uint8Array
}

/** How far the exchange is. */
export type Progress =
  | { readonly _tag: "Waiting" }
  | {
    readonly _tag: "Ended"
    readonly acknowledgement: Message.Acknowledgement
    readonly answers: ReadonlyArray<Message.Message>
    /** A list that changed while the kernel wrote it: ask again. */
    readonly interrupted: boolean
  }

/** An exchange that has begun. */
export interface Exchange {
  /** What is to be sent. */
  readonly bytes: Uint8Array
  /** Takes a datagram. After the end nothing more is taken. */
  readonly take: (datagram: Uint8Array) => Result.Result<Progress, Message.NetlinkError>
}

/** Answers of one request, bytes: a machine with a hundred thousand devices stays far below. */
export const largestAnswer = 0x1000_0000

/** Begins an exchange. The answers are copies: datagrams may be overwritten. */
export const make = (request: Request, sequence: number, little?: boolean): Exchange => {
  const answers: Array<Message.Message> = []
  let interrupted = false
  let size = 0
  return {
    bytes: Message.encode({
      type: request.type,
      flags: request.flags | Message.Flag.REQUEST | Message.Flag.ACK,
      sequence,
      port: 0,
      payload: request.payload
    }, little),
    take: (datagram) => {
      size += datagram.length
      if (size > largestAnswer) {
        return Result.fail(Message.malformed("TooLarge", 0, `more than ${largestAnswer} bytes of answer`))
      }
      const messages = Message.decode(datagram, little)
      if (Result.isFailure(messages)) return Result.fail(messages.failure)
      for (const message of messages.success) {
        if (message.sequence !== sequence) continue
        interrupted ||= (message.flags & Message.Flag.DUMP_INTERRUPTED) !== 0
        switch (message.type) {
          case Message.Control.NOOP:
            continue
          case Message.Control.OVERRUN:
            return Result.fail(Message.malformed("Unexpected", 0, "the kernel has lost a part of the answer"))
          case Message.Control.ERROR:
          case Message.Control.DONE:
            return Result.map(
              Message.acknowledgement(message, little),
              (acknowledgement): Progress => ({ _tag: "Ended", acknowledgement, answers, interrupted })
            )
          default:
            answers.push({ ...message, payload: message.payload.slice() })
        }
      }
      return Result.succeed({ _tag: "Waiting" })
    }
  }
}
