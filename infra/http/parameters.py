"""Query parameters, as a model reads them. FastAPI would look at each field's type anew for every request, which takes
more of the processor than the question itself; so the document gets them from the model too (`infra.http.openapi`).
"""

from typing import Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from infra.http.problems import Invalid

M = TypeVar("M", bound=BaseModel)


class Parameters(Generic[M]):
    """The query of a request, as a dependency of an endpoint. Raises Invalid, without what was given."""

    def __init__(self, model: type[M]) -> None:
        self.model = model

    async def __call__(self, request: Request) -> M:
        try:
            return self.model.model_validate(dict(request.query_params))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)
            told = [{"at": ".".join(map(str, ("query", *one["loc"]))), "detail": one["msg"]} for one in found]
            raise Invalid(errors=told) from None
