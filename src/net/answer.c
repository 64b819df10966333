/* answer.c - llhttp's callbacks of the client. A message's end pauses the parser: nobody's code runs inside it. */
#include "net/answer.h"

#include "err.h"

#define HEAD_BYTES_MAX 65536

static int too_large(struct answer *a)
{
    a->large = true;
    return HPE_USER;
}

static int head_error(struct answer *a, int error)
{
    if (error == 0) return 0;
    return error == E_TOO_LARGE ? too_large(a) : HPE_USER;
}

static void next_message(struct answer *a)
{
    head_reset(&a->head);
    if (a->body_buf.cap > HEAD_KEEP_BYTES) {
        buf_release(&a->body_buf);
    } else {
        buf_clear(&a->body_buf);
    }
    a->body = "";
    a->body_len = 0;
    a->begun = a->complete = false;
}

static int message_begin_cb(llhttp_t *p)
{
    struct answer *a = p->data;
    a->begun = true;
    return 0;
}

static int header_field_cb(llhttp_t *p, const char *at, size_t len)
{
    struct answer *a = p->data;
    return head_error(a, head_name(&a->head, at, len));
}

static int header_field_complete_cb(llhttp_t *p)
{
    struct answer *a = p->data;
    return head_error(a, head_name_end(&a->head));
}

static int header_value_cb(llhttp_t *p, const char *at, size_t len)
{
    struct answer *a = p->data;
    return head_error(a, head_value(&a->head, at, len));
}

static int header_value_complete_cb(llhttp_t *p)
{
    struct answer *a = p->data;
    return head_error(a, head_value_end(&a->head));
}

static int headers_complete_cb(llhttp_t *p)
{
    struct answer *a = p->data;
    a->status = p->status_code;
    a->keep_alive = llhttp_should_keep_alive(p) != 0;
    if (a->status < 100 || a->status == 101 || head_index(&a->head, 0) != 0) return HPE_USER;
    p->upgrade = 0;
    if (a->is_head && a->status >= 200) {
        a->keep_alive = (p->flags & F_CONNECTION_CLOSE) == 0 && p->http_minor > 0;
        return 1;
    }
    if ((p->flags & F_CONTENT_LENGTH) != 0 && p->content_length > a->body_bytes_max) return too_large(a);
    return 0;
}

static int body_cb(llhttp_t *p, const char *at, size_t len)
{
    struct answer *a = p->data;
    /* Whole in one piece, as most are: no copy. llhttp has counted content_length down to what is still to come. */
    bool whole = (p->flags & (F_CONTENT_LENGTH | F_CHUNKED)) == F_CONTENT_LENGTH && p->content_length == 0;
    if (a->body_len == 0 && whole && len <= a->body_bytes_max) {
        a->body = at;
        a->body_len = len;
        return 0;
    }
    buf_put(&a->body_buf, at, len);
    a->body = a->body_buf.data;
    a->body_len = a->body_buf.len;
    return a->body_buf.failed ? too_large(a) : 0;
}

static int message_complete_cb(llhttp_t *p)
{
    struct answer *a = p->data;
    a->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = message_begin_cb,
    .on_header_field = header_field_cb,
    .on_header_field_complete = header_field_complete_cb,
    .on_header_value = header_value_cb,
    .on_header_value_complete = header_value_complete_cb,
    .on_headers_complete = headers_complete_cb,
    .on_body = body_cb,
    .on_message_complete = message_complete_cb,
};

void answer_init(struct answer *a, size_t body_bytes_max)
{
    *a = (struct answer){ .body_bytes_max = body_bytes_max, .body = "" };
    head_init(&a->head, 0, HEAD_BYTES_MAX);
    buf_init(&a->body_buf, body_bytes_max);
    llhttp_init(&a->parser, HTTP_RESPONSE, &settings);
    a->parser.data = a;
}

void answer_release(struct answer *a)
{
    head_release(&a->head);
    buf_release(&a->body_buf);
}

static enum answer_event ended(struct answer *a)
{
    llhttp_resume(&a->parser);
    return a->status < 200 ? ANSWER_INTERIM : ANSWER_READY;
}

enum answer_event answer_feed(struct answer *a, const char *data, size_t len, bool is_head, size_t *ret_taken)
{
    if (a->complete) next_message(a);
    a->is_head = is_head;
    *ret_taken = len;
    llhttp_errno_t e = llhttp_execute(&a->parser, data, len);
    if (e == HPE_OK) return ANSWER_MORE;
    if (!a->complete) return a->large ? ANSWER_LARGE : ANSWER_BAD;
    *ret_taken = (size_t)(llhttp_get_error_pos(&a->parser) - data);
    return ended(a);
}

enum answer_event answer_finish(struct answer *a)
{
    if (a->complete) next_message(a);
    if (!a->begun) return ANSWER_MORE;
    (void)llhttp_finish(&a->parser);
    return a->complete ? ANSWER_READY : ANSWER_BAD;
}
