// Runs an explained classifier on a picture and paints the map of its best class over it: PPM in, PPM out.
//
//     explain MODEL_xai.xml IN.ppm OUT.ppm [PRECISION]      PRECISION: f32, bf16, f16; default: the device's own
//
// Nothing here knows ovxai: the maps are an output of the model, called "saliency_map", [N, classes, h, w] u8. Of a model in
// two parts (ovxai insert --split) give the plain part; its head is the file beside it.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <openvino/core/preprocess/pre_post_process.hpp>
#include <openvino/openvino.hpp>
#include <sstream>

struct Picture { size_t width = 0, height = 0; std::vector<uint8_t> rgb; };

Picture read_ppm(const std::string& path) {  // binary P6, 8 bits a channel, without comments
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    size_t levels = 0;
    Picture picture;
    if (!(file >> kind >> picture.width >> picture.height >> levels) || kind != "P6" || levels != 255)
        throw std::runtime_error(path + ": not a binary PPM with 8 bits a channel");
    file.get();
    picture.rgb.resize(picture.width * picture.height * 3);
    if (!file.read(reinterpret_cast<char*>(picture.rgb.data()), picture.rgb.size()))
        throw std::runtime_error(path + ": ends too early");
    return picture;
}

std::string info(const std::shared_ptr<ov::Model>& model, const std::string& key) {
    return model->has_rt_info("model_info", key) ? model->get_rt_info<std::string>("model_info", key) : "";
}

std::vector<float> numbers(const std::string& text) {
    std::istringstream words(text);
    return {std::istream_iterator<float>(words), std::istream_iterator<float>()};
}

void run(const std::string& model_path, const std::string& in, const std::string& out, const std::string& precision) {
    ov::Core core;
    auto model = core.read_model(model_path);
    auto picture = read_ppm(in);
    // The part of the picture that the model sees: all of it, or the square in its middle.
    bool crop = info(model, "resize_type") == "crop";
    size_t width = crop ? std::min(picture.width, picture.height) : picture.width;
    size_t height = crop ? width : picture.height;
    size_t left = (picture.width - width) / 2, top = (picture.height - height) / 2;
    ov::Tensor seen(ov::element::u8, {1, height, width, 3});
    for (size_t y = 0; y < height; ++y)
        std::copy_n(&picture.rgb[((top + y) * picture.width + left) * 3], width * 3, seen.data<uint8_t>() + y * width * 3);
    // OpenVINO does the rest: u8 RGB pixels of any size -> what the model wants, as its rt_info says.
    ov::preprocess::PrePostProcessor feed(model);
    feed.input().tensor().set_element_type(ov::element::u8).set_layout("NHWC").set_shape(seen.get_shape());
    feed.input().model().set_layout("NCHW");
    auto& steps = feed.input().preprocess();
    steps.convert_element_type(ov::element::f32).resize(ov::preprocess::ResizeAlgorithm::RESIZE_LINEAR);
    if (auto mean = numbers(info(model, "mean_values")); !mean.empty()) steps.mean(mean);
    if (auto scale = numbers(info(model, "scale_values")); !scale.empty()) steps.scale(scale);
    ov::AnyMap config;
    if (!precision.empty()) config["INFERENCE_PRECISION_HINT"] = precision;
    auto request = core.compile_model(feed.build(), "CPU", config).create_infer_request();
    request.set_input_tensor(seen);
    request.infer();

    auto scores = request.get_output_tensor(0);  // the model's own output comes first
    auto asked = request;
    if (model->has_rt_info("ovxai", "split")) {  // in two parts: the head is run for pictures whose map is wanted, here for each
        auto head = core.compile_model(model_path.substr(0, model_path.size() - 4) + "_head.xml", "CPU", config);
        asked = head.create_infer_request();
        for (auto& input : head.inputs()) asked.set_tensor(input, request.get_tensor(input.get_any_name()));
        asked.infer();
    }
    auto maps = asked.get_tensor("saliency_map");
    size_t best = std::max_element(scores.data<float>(), scores.data<float>() + scores.get_size()) - scores.data<float>();
    size_t rows = maps.get_shape()[2], columns = maps.get_shape()[3];
    const uint8_t* map = maps.data<uint8_t>() + best * rows * columns;
    for (size_t y = 0; y < height; ++y)
        for (size_t x = 0; x < width; ++x) {  // bilinear, cells are centred
            float v = std::clamp((y + 0.5f) * rows / height - 0.5f, 0.0f, rows - 1.0f);
            float u = std::clamp((x + 0.5f) * columns / width - 0.5f, 0.0f, columns - 1.0f);
            size_t i = v, j = u, i2 = std::min(i + 1, rows - 1), j2 = std::min(j + 1, columns - 1);
            auto along = [&](size_t row) { return (1 - u + j) * map[row * columns + j] + (u - j) * map[row * columns + j2]; };
            float heat = ((1 - v + i) * along(i) + (v - i) * along(i2)) / 255;
            for (int c = 0; c < 3; ++c) {  // red, green, blue of the usual rainbow
                float color = std::clamp(1.5f - std::abs(4 * heat - (3 - c)), 0.0f, 1.0f);
                auto& pixel = picture.rgb[((top + y) * picture.width + left + x) * 3 + c];
                pixel = static_cast<uint8_t>(0.5f * pixel + 127.5f * color);
            }
        }
    std::ofstream(out, std::ios::binary) << "P6\n" << picture.width << ' ' << picture.height << "\n255\n"
        << std::string(picture.rgb.begin(), picture.rgb.end());
    std::cout << "class " << best << ", map " << rows << "x" << columns << ":";
    for (size_t i = 0; i < rows * columns; ++i) std::cout << ' ' << int(map[i]);
    std::cout << std::endl;
}

int main(int count, char** words) try {
    if (count < 4) throw std::runtime_error("usage: explain MODEL_xai.xml IN.ppm OUT.ppm [PRECISION]");
    run(words[1], words[2], words[3], count > 4 ? words[4] : "");
} catch (const std::exception& error) {
    std::cerr << "Error: " << error.what() << std::endl;
    return 1;
}
