"""User events: log-ins, authorisation, the audit trail. Key: the user, so that what one person did keeps its order."""

from __future__ import annotations

from actors.kafka.delivery import Delivery
from actors.producers.category import NO_CONTEXT, CategoryPublisher, Context
from schemas.topics import USER


class UserPublisher(CategoryPublisher):
    """Publishes to `fab.user`. Every method returns the event's Delivery; see `Publisher.publish` for errors.

    No secret belongs in any field: `user_id` is a user's or an API key's identifier.
    """

    topic = USER
    record = "user"

    def logged_in(
        self,
        user_id: str,
        *,
        method: str,
        session_id: str | None = None,
        source_address: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say who came in, and how that was proved (API_KEY, OIDC …)."""
        fields = {
            "user_id": user_id,
            "method": method,
            "session_id": session_id,
            "source_address": source_address,
        }
        return self._emit("USER_LOGGED_IN", fields, context)

    def login_failed(
        self,
        user_id: str,
        *,
        method: str,
        reason: str,
        source_address: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say who was not let in, and why."""
        fields = {"user_id": user_id, "method": method, "reason": reason, "source_address": source_address}
        return self._emit("LOGIN_FAILED", fields, context)

    def logged_out(self, user_id: str, *, session_id: str | None = None, context: Context = NO_CONTEXT) -> Delivery:
        """Say who went."""
        return self._emit("USER_LOGGED_OUT", {"user_id": user_id, "session_id": session_id}, context)

    def authorisation_granted(
        self,
        user_id: str,
        *,
        action: str,
        resource: str,
        role: str | None = None,
        session_id: str | None = None,
        source_address: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a user may do something, and under which role."""
        fields = {
            "user_id": user_id,
            "action": action,
            "resource": resource,
            "role": role,
            "session_id": session_id,
            "source_address": source_address,
        }
        return self._emit("AUTHORISATION_GRANTED", fields, context)

    def authorisation_denied(
        self,
        user_id: str,
        *,
        action: str,
        resource: str,
        reason: str,
        role: str | None = None,
        session_id: str | None = None,
        source_address: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a user may not do something, and why."""
        fields = {
            "user_id": user_id,
            "action": action,
            "resource": resource,
            "reason": reason,
            "role": role,
            "session_id": session_id,
            "source_address": source_address,
        }
        return self._emit("AUTHORISATION_DENIED", fields, context)

    def audit_recorded(
        self,
        user_id: str,
        *,
        action: str,
        resource: str,
        before: str | None = None,
        after: str | None = None,
        role: str | None = None,
        session_id: str | None = None,
        source_address: str | None = None,
        reason: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say what a user changed: the resource before and after, as JSON."""
        fields = {
            "user_id": user_id,
            "action": action,
            "resource": resource,
            "before": before,
            "after": after,
            "role": role,
            "session_id": session_id,
            "source_address": source_address,
            "reason": reason,
        }
        return self._emit("AUDIT_RECORDED", fields, context)
