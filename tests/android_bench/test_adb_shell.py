import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from android_bench.adb_shell import quote, run_shell
from deploy.errors import TransientDeviceError

PROFILES = ["android14", "android7", "adbd2015"]


@pytest.fixture(params=PROFILES)
def phone(request, start_phone):
    return start_phone(request.param)


@pytest.fixture
def modern(start_phone):
    return start_phone()


def test_the_code_and_both_outputs_come_back_from_every_daemon(phone):
    done = run_shell(phone.serial, "echo out; echo err >&2; exit 3", 10)
    assert (done.exit_code, done.stdout, done.stderr.strip()) == (3, "out\n", "err")


def test_a_program_that_a_signal_ends_gives_128_and_the_signal(phone):
    assert run_shell(phone.serial, "sh -c 'kill -SEGV $$'", 10).exit_code == 139


def test_output_without_a_last_line_end_is_whole(phone):
    assert run_shell(phone.serial, "printf '%s' 'a\n\nb'", 10).stdout == "a\n\nb"


def test_a_command_that_does_not_exist_is_127(phone):
    assert run_shell(phone.serial, "no-such-tool", 10).exit_code == 127


def test_a_word_that_looks_like_the_end_is_not_taken_for_it(modern):
    done = run_shell(modern.serial, "echo mofa-0123456789abcdef 0; exit 4", 10)
    assert (done.exit_code, done.stdout) == (4, "mofa-0123456789abcdef 0\n")


def test_a_command_that_was_cut_off_is_an_error_and_not_a_success(modern):
    modern.when("sleep 60", modern.cut)
    with pytest.raises(TransientDeviceError, match=r"broke in the middle of a command|is offline"):
        run_shell(modern.serial, "echo begun; sleep 60", 20)


def test_a_shell_that_dies_under_the_command_is_an_error_and_not_a_success(modern):
    with pytest.raises(TransientDeviceError, match="broke in the middle of a command"):
        run_shell(modern.serial, "kill -KILL $$", 10)


def test_bytes_that_are_no_text_do_not_stop_it(modern):
    done = run_shell(modern.serial, r"printf 'a\377b\000c\n'", 10)
    assert done.stdout == "a�b\0c\n"


def test_a_command_that_hangs_is_ended_at_the_time_limit_and_on_the_phone(modern):
    with pytest.raises(TransientDeviceError, match="did not answer within"):
        run_shell(modern.serial, "exec sleep 60", 0.5)


WORDS = st.lists(
    st.text(st.characters(min_codepoint=1, codec="utf-8", exclude_characters="/"), max_size=12),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS)
def test_words_arrive_as_they_are_whatever_is_in_them(modern, words):
    done = run_shell(modern.serial, f"printf '<%s>' {quote(*words)}", 10)
    assert done.stdout == "".join(f"<{word}>" for word in words)
